"""Rows -> tables: for the terminal, as Markdown, CSV, LaTeX and JSON."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from qgcn.evaluating.evaluate import Row, mean_row

HEADERS = {"psnr": "PSNR", "ssim": "SSIM", "psnr_b": "PSNR-B"}
MADE_WITH = ("data", "quality", "codec", "protocol", "net")
DIGITS = {"psnr": 2, "ssim": 4, "psnr_b": 2}

LATEX_SIGNS = {sign: f"\\{sign}" for sign in "&%$#_{}"}
LATEX_SIGNS |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


class Table(NamedTuple):
    """A table as text.

    Attributes:
        title: one line or more.
        header: the title of each column.
        lines: the cells of each line.
        labels: how many columns at the left are words; the others are figures.
        compared: the columns whose highest figure in a line is the best.
    """

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    labels: int = 1
    compared: Sequence[int] = ()


def terminal(table: Table) -> str:
    """The table in columns, its last line, the mean, below a rule."""
    columns = []
    for place, cells in enumerate(zip(table.header, *table.lines, strict=True)):
        justify, width = str.ljust if place < table.labels else str.rjust, max(map(len, cells))
        columns.append([justify(cell, width) for cell in cells])
    header, *lines = map("  ".join, zip(*columns, strict=True))
    rule = "-" * len(header)
    return "\n".join([table.title, rule, header, rule, *lines[:-1], rule, lines[-1]])


def markdown(table: Table) -> str:
    """The table as Markdown."""
    lines = [table.header, ["---"] * len(table.header), *table.lines]
    return "\n".join([table.title, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def comma_separated(table: Table) -> str:
    """The table as CSV, its title in a column of its own."""
    return csv_text([*table.header, "made with"], ([*line, table.title] for line in table.lines))


def latex(table: Table) -> str:
    """The table as a LaTeX tabular with the rules of the package booktabs; the best figures are bold."""
    lines = [" & ".join(map(_escaped, table.header)) + r" \\"]
    for line in table.lines:
        best = max((float(line[column]) for column in table.compared), default=None)
        cells = [
            rf"\textbf{{{cell}}}" if column in table.compared and float(cell) == best else _escaped(cell)
            for column, cell in enumerate(line)
        ]
        lines.append(" & ".join(cells) + r" \\")
    columns = "l" * table.labels + "r" * (len(table.header) - table.labels)
    rows = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([f"% {table.title}", *rows, r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^&%$#_{}]", lambda sign: LATEX_SIGNS[sign[0]], text)


FORMATS = {"markdown": markdown, "csv": comma_separated, "latex": latex}


def csv_text(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A header and lines as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue()


def json_text(content: Any) -> str:
    """Anything as JSON. It has no NaN, which SSIM is for images smaller than its window: null stands for it."""
    return json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def outcome_of(rows: list[Row], made_with: dict[str, Any]) -> dict[str, Any]:
    """The rows of one quality with what made them (a value for each of MADE_WITH) and their mean, as --json has it."""
    return {**made_with, "images": rows, "mean": mean_row(rows)}


def rounded(outcome: dict[str, Any]) -> Table:
    """The table of an outcome: of each metric the JPEG's figure and, with a network, the restored one's and gain."""
    restored = outcome["mean"]["restored"] is not None
    header = ["image"]
    for name in HEADERS.values():
        header += [name, "out", "gain"] if restored else [name]
    lines = []
    for row in _lines(outcome):
        cells = [row["name"]]
        for name, digits in DIGITS.items():
            cells.append(f"{row['compressed'][name]:.{digits}f}")
            if restored:
                cells.append(f"{row['restored'][name]:.{digits}f}")
                cells.append(f"{row['restored'][name] - row['compressed'][name]:+.{digits}f}")
        lines.append(cells)
    title = f"{outcome['data']}, quality {outcome['quality']}, {outcome['net']}"
    return Table(f"{title}\ncodec {outcome['codec']}; protocol {outcome['protocol']}", header, lines)


def unrounded(outcome: dict[str, Any]) -> str:
    """The figures of an outcome as CSV, with what made them in columns of their own."""
    figures = [(which, name) for which in ("compressed", "restored") if outcome["mean"][which] for name in HEADERS]
    header = [*MADE_WITH, "image", *(f"{which}_{name}" for which, name in figures)]
    first = [outcome[key] for key in MADE_WITH]
    lines = ([*first, row["name"], *(row[which][name] for which, name in figures)] for row in _lines(outcome))
    return csv_text(header, lines)


def _lines(outcome: dict[str, Any]) -> list[Row]:
    return [*outcome["images"], {"name": "mean", **outcome["mean"]}]
