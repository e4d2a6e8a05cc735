"""The paper's two tables beside this project's figures."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qgcn import checkpoints
from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.metrics import Protocol, get_protocol
from qgcn.evaluating.report import DIGITS, HEADERS, Table, json_text
from qgcn.jpeg.codec import Codec
from qgcn.paper.record import JPEG, Models, Record, mean_figures
from qgcn.utils.errors import UserError

PUBLISHED = {1: ("table1_color.csv", "RGB"), 2: ("table2_gray.csv", "L")}
"""Number of the paper's table -> its figures (beside this module) and colour mode."""

METRIC_KEYS = {header: name for name, header in HEADERS.items()}


def protocol_of(name: str, data: str, mode: str) -> Protocol:
    """The protocol called ``name``; in the paper's, LIVE1 in colour alone has scikit-image's default SSIM, 7 x 7."""
    protocol = get_protocol(name)
    return replace(protocol, ssim="7x7") if (name, data, mode) == ("paper", "LIVE1", "RGB") else protocol


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

    @property
    def data_sets(self) -> list[str]:
        """The data sets of the rows, in their order."""
        return list(dict.fromkeys(data for data, _, _ in self.rows))


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


def measure_cells(
    published: Published, models: Models, *, root: str, codec: Codec, protocol: str, workers: int, record: Record
) -> list[Cell]:
    """Measure every row of a table for the JPEG and the models."""
    for name, path in models.items():
        channels = checkpoints.image_channels(checkpoints.load(path))
        if channels != (3 if published.mode == "RGB" else 1):
            raise UserError(
                f"--model {name}={path} restores {'colour' if channels == 3 else 'gray'}, which is another table"
            )
    found = {}
    for data in published.data_sets:
        qualities = list(dict.fromkeys(quality for name, quality, _ in published.rows if name == data))
        files, folder = find_images(data, root)
        found[data] = mean_figures(
            files, folder, mode=published.mode, data=data, qualities=qualities, models=models, codec=codec,
            protocol=protocol_of(protocol, data, published.mode), workers=workers, record=record,
        )  # fmt: skip
    return [
        Cell(
            data, quality, metric, paper,
            {name: found[data][name, quality][METRIC_KEYS[metric]] for name in (JPEG, *models)},
        )
        for (data, quality, metric), paper in published.rows.items()
    ]  # fmt: skip


def table_of(published: Published, cells: Sequence[Cell], *, codec: str, protocol: str) -> Table:
    """The paper's columns, then ours with their differences; the title says codec and protocol."""
    kind = "colour" if published.mode == "RGB" else "gray"
    measured = "; ".join(
        f"{data}: {protocol_of(protocol, data, published.mode).describe()}" for data in published.data_sets
    )
    names = list(cells[0].ours)
    methods = [*published.methods, *(title for name in names for title in (f"our {name}", "diff."))]
    lines = [
        [
            cell.data, str(cell.quality), cell.metric, *(cell.paper[name] for name in published.methods),
            *(text for name in names for text in (cell.printed(name), cell.difference(name))),
        ]
        for cell in cells
    ]  # fmt: skip
    return Table(
        f"Table {published.number} ({kind}); codec {codec}; protocol {measured}",
        ["data", "quality", "metric", *methods],
        lines,
        labels=3,
        compared=[column for column, title in enumerate(methods, 3) if title != "diff."],
    )


def cells_as_json(title: str, cells: Sequence[Cell]) -> str:
    """The cells as JSON, unrounded."""
    lines = [
        {"data": c.data, "quality": c.quality, "metric": c.metric, "paper": dict(c.paper), "ours": dict(c.ours)}
        for c in cells
    ]
    return json_text({"title": title, "cells": lines})
