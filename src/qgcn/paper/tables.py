"""The paper's two tables beside this project's figures."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qgcn import checkpoints
from qgcn.evaluating.report import DIGITS, HEADERS, Table
from qgcn.paper.record import JPEG, Models, protocol_of
from qgcn.utils.errors import UserError
from qgcn.utils.image import COLOR_MODES

PUBLISHED = {1: ("table1_color.csv", "RGB"), 2: ("table2_gray.csv", "L")}
"""Number of the paper's table -> its figures (in published/) and colour mode."""

METRIC_KEYS = {header: name for name, header in HEADERS.items()}


@dataclass
class Cell:
    """A row of a table: the paper's printed figures and those measured here.

    Attributes:
        data, quality, metric: which row.
        paper: method -> printed figure, JPEG first.
        ours: 'JPEG' and the names of the models -> measured figure.
    """

    data: str
    quality: int
    metric: str
    paper: dict[str, str]
    ours: dict[str, float] = field(default_factory=dict)

    def printed(self, name: str) -> str:
        """A figure of ours with as many digits as the paper prints."""
        return f"{self.ours[name]:.{DIGITS[METRIC_KEYS[self.metric]]}f}"

    @property
    def jpeg_equals(self) -> bool:
        """Whether the JPEG's figure equals the paper's to the printed digit."""
        return self.printed(JPEG) == self.paper[JPEG]

    def difference(self, name: str) -> str:
        """Ours minus the paper's, where the paper has a method of that name."""
        if name not in self.paper:
            return ""
        return f"{float(self.printed(name)) - float(self.paper[name]):+.{DIGITS[METRIC_KEYS[self.metric]]}f}"


def read_published(number: int) -> list[Cell]:
    """The rows of the paper's table 1 (colour) or 2 (gray)."""
    with open(Path(__file__).parent / "published" / PUBLISHED[number][0], newline="") as file:
        lines = list(csv.DictReader(file))
    return [Cell(line.pop("dataset"), int(line.pop("quality")), line.pop("metric"), line) for line in lines]


def measure_table(number: int, models: Models, measure: Callable[..., Mapping]) -> list[Cell]:
    """A table of the paper with the figures of the JPEG and of models; ``measure`` is `mean_figures` with its keywords.

    Raises:
        UserError: if a model is for another colour mode.
    """
    mode = PUBLISHED[number][1]
    for name, path in models.items():
        channels = checkpoints.image_channels(checkpoints.load(path))
        if channels != COLOR_MODES[mode]:
            kind = "colour" if channels == 3 else "gray"
            raise UserError(f"--model {name}={path} restores {kind}, which is another table")
    cells = read_published(number)
    for data in dict.fromkeys(cell.data for cell in cells):
        of_data = [cell for cell in cells if cell.data == data]
        means = measure(data, mode, list(dict.fromkeys(cell.quality for cell in of_data)), models)
        for cell in of_data:
            cell.ours = {name: means[name, cell.quality][METRIC_KEYS[cell.metric]] for name in (JPEG, *models)}
    return cells


def table_of(number: int, cells: Sequence[Cell], *, codec: str, protocol: str) -> Table:
    """The paper's columns, then ours with their differences; the title names codec and protocol."""
    mode = PUBLISHED[number][1]
    data_sets = dict.fromkeys(cell.data for cell in cells)
    protocols = (f"{data}: {protocol_of(protocol, data, mode).describe()}" for data in data_sets)
    title = f"Table {number} ({'colour' if mode == 'RGB' else 'gray'}); codec {codec}; protocol {'; '.join(protocols)}"
    header = ["data", "quality", "metric", *cells[0].paper]
    for name in cells[0].ours:
        header += [f"our {name}", "diff."]
    lines = []
    for cell in cells:
        lines.append([cell.data, str(cell.quality), cell.metric, *cell.paper.values()])
        for name in cell.ours:
            lines[-1] += [cell.printed(name), cell.difference(name)]
    compared = [column for column in range(3, len(header)) if header[column] != "diff."]
    return Table(title, header, lines, labels=3, compared=compared)
