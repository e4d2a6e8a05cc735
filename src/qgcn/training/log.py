"""What a training run leaves behind to explain its numbers: options, log, metrics as CSV and TensorBoard."""

import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch

from qgcn.training.state import Progress
from qgcn.utils.errors import UserError
from qgcn.utils.files import write_text

OPTIONS = "options.json"
"""The file of `write_options`: a folder that holds it is a run's."""

COLUMNS = (
    "step", "epoch", "samples", "seconds", "lr", "loss", "input_psnr", "psnr", "ssim", "psnr_b",
    "gain_standard", "gain_files", "gain_between", "gain_random",
)  # fmt: skip
"""metrics.csv: position, then the mean loss since the last row, then validation (input_psnr: the JPEG itself), and with
--valid_degradation real the gain in PSNR on each family of tables (jpeg.random_tables.FAMILIES)."""


@contextmanager
def logged_to(handler: logging.Handler) -> Iterator[None]:
    """Hand what training logs meanwhile to ``handler``, too."""
    logger = logging.getLogger("train")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class RunLog:
    """The log of a run folder: log.txt, metrics.csv and TensorBoard's events.

    Args:
        folder: the run folder, made if need be.
        progress: where the run goes on; later rows of an interrupted run are dropped.
        before: what was logged before there was a folder, to be written first.
    """

    def __init__(self, folder: Path, progress: Progress, before: Sequence[logging.LogRecord] = ()):
        from torch.utils.tensorboard import SummaryWriter

        self.metrics = folder / "metrics.csv"
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        if progress.step and self.metrics.exists():
            with open(self.metrics, newline="") as file:
                rows = [row for row in csv.DictReader(file) if _stands(row, progress)]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.metrics, text.getvalue())
        self.handler = logging.FileHandler(folder / "log.txt")
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        for record in before:
            self.handler.handle(record)
        logging.getLogger("train").addHandler(self.handler)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=progress.step + 1 if progress.step else None)

    def row(self, **values: Any) -> None:
        """Append a row of COLUMNS to metrics.csv and its figures to TensorBoard."""
        with open(self.metrics, "a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(values)
        for name in COLUMNS[4:]:
            if name in values:
                self.board.add_scalar(name, values[name], values["step"])

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, _kind, error: BaseException | None, _trace) -> None:
        """Write the UserError that ends a run, if one does, to log.txt (the terminal has it); close the files."""
        if isinstance(error, UserError):
            self.handler.handle(logging.makeLogRecord({"msg": f"error: {error}"}))
        self.board.close()
        logging.getLogger("train").removeHandler(self.handler)
        self.handler.close()


def _stands(row: dict[str, str], progress: Progress) -> bool:
    """Whether a row of the run before is of what ``progress`` has; one that a kill cut short is not."""
    if not (row.get("step") or "").isdecimal() or None in row.values():
        return False
    again = progress.validation_due and row["psnr"]
    return int(row["step"]) < progress.step + (not again)


def write_options(folder: Path, options: dict[str, Any], command: list[str]) -> None:
    """Write OPTIONS: the command, its options, the versions that ran it, and the commands of a resumed run before."""
    versions = {"torch": torch.__version__, "numpy": numpy.__version__, "pillow": PIL.__version__}
    try:
        before = json.loads((folder / OPTIONS).read_text())
        earlier = [*before.get("earlier", []), before["command"]]
    except (OSError, ValueError, KeyError, AttributeError):  # none, or not ours
        earlier = []
    content = {"command": command, "options": options, "versions": versions, "earlier": earlier}
    write_text(folder / OPTIONS, json.dumps(content, indent=2) + "\n")
