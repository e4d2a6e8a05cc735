"""This project's figures beside the paper's: its two tables, the generalization figure, the visual comparison."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from qgcn import checkpoints
from qgcn.evaluating.evaluate import DIGITS, HEADERS, evaluate_image, find_images
from qgcn.evaluating.metrics import get_protocol
from qgcn.jpeg.codec import get_codec
from qgcn.paper.figures import pyplot
from qgcn.paper.measurement import JPEG, Models, Record, measure
from qgcn.paper.pictures import Box, comparison, largest_gain
from qgcn.restoring.model import load_model
from qgcn.utils.errors import UserError
from qgcn.utils.image import load_image

PUBLISHED = {1: ("table1_color.csv", "RGB"), 2: ("table2_gray.csv", "L")}
"""Number of the paper's table -> its figures (beside this module) and colour mode."""

METRIC_KEYS = {header: name for name, header in HEADERS.items()}
COMPARISON_CROP = (96, 96)


def named_models(words: Sequence[str]) -> dict[str, str]:
    """NAME=PATH words as a mapping; raises UserError for other forms, repeated names and missing files."""
    models = {}
    for word in words:
        name, sign, path = word.partition("=")
        if not sign or not name or not path:
            raise UserError(f"--model {word!r} is not of the form NAME=PATH, such as QCN=checkpoint/qcn_rgb.pth")
        if name in models or name == JPEG:
            raise UserError(f"--model {word!r}: the name {name!r} is taken")
        models[name] = path
        checkpoints.load(path)
    return models


# --------------------------------------------------------------------------------------------- the tables


@dataclass(frozen=True)
class Published:
    """A table of the paper.

    Attributes:
        number: 1 (colour) or 2 (gray).
        mode: 'RGB' or 'L'.
        methods: its columns, JPEG first.
        rows: (data set, quality, metric) -> method -> printed figure.
    """

    number: int
    mode: str
    methods: tuple[str, ...]
    rows: Mapping[tuple[str, int, str], Mapping[str, str]]


@dataclass(frozen=True)
class Cell:
    """A row of a table: the paper's printed figures and those measured here.

    Attributes:
        data, quality, metric: which row.
        paper: method -> printed figure.
        ours: 'JPEG' and the names of the models -> measured figure.
    """

    data: str
    quality: int
    metric: str
    paper: Mapping[str, str]
    ours: Mapping[str, float]

    def printed(self, name: str) -> str:
        """A figure of ours with as many digits as the paper prints."""
        return f"{self.ours[name]:.{DIGITS[METRIC_KEYS[self.metric]]}f}"

    @property
    def jpeg_equals(self) -> bool:
        """Whether the JPEG's figure equals the paper's to the printed digit."""
        return self.printed("JPEG") == self.paper["JPEG"]

    def difference(self, name: str) -> str:
        """Ours minus the paper's, where the paper has a method of that name."""
        if name not in self.paper:
            return ""
        return f"{float(self.printed(name)) - float(self.paper[name]):+.{DIGITS[METRIC_KEYS[self.metric]]}f}"


@dataclass(frozen=True)
class Table:
    """A table of the paper with this project's columns.

    Attributes:
        title: which table, codec and protocol.
        published: the paper's.
        names: our columns, JPEG first.
        cells: its rows.
    """

    title: str
    published: Published
    names: tuple[str, ...]
    cells: tuple[Cell, ...]

    def header(self) -> list[str]:
        """Column titles: the paper's, then ours with their differences."""
        ours = [title for name in self.names for title in (f"our {name}", "diff.")]
        return ["data", "quality", "metric", *self.published.methods, *ours]

    def lines(self) -> list[list[str]]:
        """The rows as text."""
        return [
            [
                cell.data, str(cell.quality), cell.metric, *(cell.paper[name] for name in self.published.methods),
                *(text for name in self.names for text in (cell.printed(name), cell.difference(name))),
            ]
            for cell in self.cells
        ]  # fmt: skip


def read_published(number: int) -> Published:
    """The paper's table 1 (colour) or 2 (gray)."""
    name, mode = PUBLISHED[number]
    with open(Path(__file__).parent / "published" / name, newline="") as file:
        lines = list(csv.DictReader(file))
    methods = tuple(lines[0])[3:]
    rows = {
        (line["dataset"], int(line["quality"]), line["metric"]): {method: line[method] for method in methods}
        for line in lines
    }
    return Published(number, mode, methods, rows)


def measure_table(
    published: Published, models: Models, *, root: str, codec: str, protocol: str, workers: int, record: Record
) -> Table:
    """Measure every row of a table for the JPEG and the models."""
    for name, path in models.items():
        channels = checkpoints.image_channels(checkpoints.load(path))
        if channels != (3 if published.mode == "RGB" else 1):
            raise UserError(
                f"--model {name}={path} restores {'colour' if channels == 3 else 'gray'}, which is another table"
            )
    found = {}
    for data in dict.fromkeys(data for data, _, _ in published.rows):
        qualities = list(dict.fromkeys(quality for name, quality, _ in published.rows if name == data))
        files, folder = find_images(data, root)
        means = measure(
            files, folder, mode=published.mode, data=data, qualities=qualities, models=models, codec=codec,
            protocol=protocol, workers=workers, record=record,
        )  # fmt: skip
        found |= {(data, *key): value for key, value in means.items()}
    columns = {JPEG: "", **models}
    cells = tuple(
        Cell(
            data, quality, metric, paper,
            {name: found[data, quality, path][METRIC_KEYS[metric]] for name, path in columns.items()},
        )
        for (data, quality, metric), paper in published.rows.items()
    )  # fmt: skip
    how = "; ".join(
        f"{data}: {get_protocol(protocol).describe(data, published.mode)}"
        for data in dict.fromkeys(cell.data for cell in cells)
    )
    kind = "colour" if published.mode == "RGB" else "gray"
    title = f"Table {published.number} ({kind}); codec {get_codec(codec).name}; protocol {how}"
    return Table(title, published, tuple(columns), cells)


def markdown(table: Table) -> str:
    """The table as Markdown."""
    lines = [table.header(), ["---"] * len(table.header()), *table.lines()]
    return "\n".join([table.title, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def comma_separated(table: Table) -> str:
    """The table as CSV, its title in a column of its own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*table.header(), "made with"])
    writer.writerows([*line, table.title] for line in table.lines())
    return text.getvalue()


def latex(table: Table) -> str:
    """The table as a LaTeX tabular."""
    lines = [
        " & ".join(re.sub(r"([&%$#_{}])", r"\\\1", cell) for cell in line) + r" \\"
        for line in [table.header(), *table.lines()]
    ]
    columns = "l" * 3 + "r" * (len(table.header()) - 3)
    return "\n".join(
        [f"% {table.title}", rf"\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline",
         r"\end{tabular}", ""]
    )  # fmt: skip


FORMATS = {"markdown": markdown, "csv": comma_separated, "latex": latex}


def as_json(table: Table) -> str:
    """The cells as JSON, unrounded."""
    cells = [
        {"data": c.data, "quality": c.quality, "metric": c.metric, "paper": dict(c.paper), "ours": dict(c.ours)}
        for c in table.cells
    ]
    return json.dumps({"title": table.title, "cells": cells}, indent=1) + "\n"


def draw_table(table: Table):
    """The table as a matplotlib figure; figures of ours that equal the paper's to the printed digit are green."""
    header, lines = table.header(), table.lines()
    figure, axis = pyplot().subplots(figsize=(1.05 * len(header), 0.24 * len(lines) + 0.8))
    axis.axis("off")
    axis.set_title(table.title.replace("; protocol", ";\nprotocol"), fontsize=9)
    drawn = axis.table(lines, colLabels=header, bbox=[0, 0, 1, 1], cellLoc="center")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8.5)
    first = 3 + len(table.published.methods)
    for (row, column), cell in drawn.get_celld().items():
        cell.set_linewidth(0.3)
        if row == 0:
            cell.set_text_props(weight="bold")
        elif column >= first and (column - first) % 2 == 0:
            same = lines[row - 1][column + 1].strip("+-") in ("0.00", "0.0000")
            cell.set_facecolor("#d9ead3" if same else "#f3f3f3")
    return figure


# --------------------------------------------------------------------------------------- generalization


@dataclass(frozen=True)
class Gains:
    """Gains in PSNR against the quality factor.

    Attributes:
        data: data set and colour mode.
        codec: name and version.
        qualities: the quality factors.
        gains: model -> gain in dB at each quality.
        ranges: model -> lowest and highest quality it was trained on, or None.
    """

    data: str
    codec: str
    qualities: tuple[int, ...]
    gains: Mapping[str, Sequence[float]]
    ranges: Mapping[str, tuple[int, int] | None]

    def csv(self) -> str:
        """A row a quality, a column a model."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["data", "codec", "quality", *self.gains])
        for i, quality in enumerate(self.qualities):
            writer.writerow([self.data, self.codec, quality, *(f"{values[i]:.4f}" for values in self.gains.values())])
        return text.getvalue()


def measure_gains(
    models: Models, data: str, qualities: Sequence[int], *, root: str, codec: str, workers: int, record: Record
) -> Gains:
    """The mean gain in PSNR of each model at each quality; all models must have one colour mode."""
    contents = {name: checkpoints.load(path) for name, path in models.items()}
    channels = {checkpoints.image_channels(content) for content in contents.values()}
    if len(channels) > 1:
        raise UserError("generalize compares checkpoints of one colour mode: these restore colour and gray")
    mode = "RGB" if channels == {3} else "L"
    files, folder = find_images(data, root)
    found = measure(
        files, folder, mode=mode, data=data, qualities=qualities, models=models, codec=codec, protocol="paper",
        workers=workers, record=record,
    )  # fmt: skip
    gains = {
        name: [found[quality, path]["psnr"] - found[quality, ""]["psnr"] for quality in qualities]
        for name, path in models.items()
    }
    ranges = {name: _trained_range(content["opt"].get("quality")) for name, content in contents.items()}
    return Gains(f"{data} {mode}", get_codec(codec).name, tuple(qualities), gains, ranges)


def _trained_range(option: object) -> tuple[int, int] | None:
    """The quality range of a checkpoint's options: numbers, or the text '[1,60]' of the published program."""
    words = str(option).strip("[]() ").split(",")
    return (int(words[0]), int(words[-1])) if all(word.strip().isdigit() for word in words) else None


def draw_gains(gains: Gains):
    """A matplotlib figure: a line a model, thick where it was trained."""
    figure, axis = pyplot().subplots(figsize=(8, 5))
    pairs = pyplot().get_cmap("tab20").colors  # dark and light in turn
    axis.set_prop_cycle(color=pairs[::2] + pairs[1::2])
    for name, values in gains.gains.items():
        low, high = gains.ranges[name] or (0, 0)
        trained = (
            f", trained on {low}-{high}" if gains.ranges[name] and low != high else f", trained on {low}" if low else ""
        )
        (line,) = axis.plot(gains.qualities, values, marker="o", markersize=3, linewidth=1, label=name + trained)
        inside = [(q, v) for q, v in zip(gains.qualities, values, strict=True) if low <= q <= high]
        if inside:
            axis.plot(*zip(*inside, strict=True), color=line.get_color(), linewidth=4, alpha=0.35, marker="o")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xlabel("quality factor")
    axis.set_ylabel("gain in PSNR over the JPEG, dB")
    axis.set_title(f"{gains.data}; codec {gains.codec}; thick: the qualities trained on", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))  # beside the curves, however many
    return figure


# -------------------------------------------------------------------------------------------- comparison


def compare_methods(path: str, models: Models, quality: int, crop: Box | None, *, codec: str) -> Image.Image:
    """The original, the JPEG and each method, with ``crop`` or where the last method gains most enlarged."""
    loaded = {name: load_model(checkpoint_path, torch.device("cpu")) for name, checkpoint_path in models.items()}
    modes = {model.color_mode for model in loaded.values()}
    if len(modes) > 1:
        raise UserError("compare shows checkpoints of one colour mode: these restore colour and gray")
    truth = load_image(path, modes.pop())
    shown = {}
    for name, model in loaded.items():
        pictures, _ = evaluate_image(
            truth, model, quality=quality, codec=get_codec(codec), padded=model.input.takes_tables, metrics={}
        )
        shown.setdefault(f"JPEG {quality}", pictures["compressed"])
        shown[name] = pictures["restored"]
    if crop is None:
        crop = largest_gain(truth, shown[f"JPEG {quality}"], pictures["restored"], COMPARISON_CROP)
    left, top, width, height = crop
    if min(left, top) < 0 or min(width, height) < 1 or left + width > truth.shape[1] or top + height > truth.shape[0]:
        raise UserError(f"--crop {crop} does not lie in the image of {truth.shape[1]} x {truth.shape[0]} pixels")
    return comparison(truth, shown, crop)
