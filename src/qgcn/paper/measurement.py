"""Figures of many images, measured in worker processes and kept in a CSV with a row an image."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from qgcn.evaluating.evaluate import HEADERS, evaluate_image
from qgcn.evaluating.metrics import get_protocol
from qgcn.jpeg.codec import get_codec
from qgcn.restoring.model import Model, load_model
from qgcn.utils.errors import UserError
from qgcn.utils.files import check_writable, locked, name_of, write_text
from qgcn.utils.image import load_image

Models = Mapping[str, str]
"""Column name -> checkpoint."""

Figures = dict[str, float]
"""Metric (psnr, ssim, psnr_b) -> value."""

JPEG = "JPEG"
"""The column of the compressed images themselves."""


class Measured(NamedTuple):
    """What was measured: a row of the CSV but for its figures.

    Attributes:
        data, mode: data set and colour mode.
        quality: JPEG quality factor.
        codec, protocol: as the tables name them.
        checkpoint: `fingerprint` of the checkpoint; '' for the JPEG.
        image: its file, relative to the data set's folder.
        image_file: `fingerprint` of that file.
    """

    data: str
    mode: str
    quality: int
    codec: str
    protocol: str
    checkpoint: str
    image: str
    image_file: str


WIDEST = 768
"""Side of the widest images of the paper's data sets, pixels: in one tile they take no halo's work."""

COLUMNS = (*Measured._fields, "method", *HEADERS)


class Record:
    """The rows of images measured so far, in a CSV; what is in it is not measured again.

    Rows keep the method's name under which they were measured. Several measurements may write into one CSV at once.

    Args:
        path: the CSV, read if it exists; '' keeps nothing.

    Raises:
        UserError: if the file is something else.
    """

    def __init__(self, path: str | Path = ""):
        self.path = Path(path) if path else None
        self.rows: dict[Measured, tuple[str, Figures]] = {}
        if self.path is None:
            return
        check_writable(self.path)
        if self.path.exists():
            try:
                self._read()
            except (ValueError, KeyError, TypeError, csv.Error):  # text, numbers or columns that are not ours
                raise UserError(f"{str(path)!r} is no CSV of measured images: give another --per_image") from None

    def _read(self) -> None:
        with open(self.path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("other columns")
            for row in reader:
                key = Measured(*(row[name] for name in Measured._fields))._replace(quality=int(row["quality"]))
                self.rows[key] = row["method"], {name: float(row[name]) for name in HEADERS}

    def add(self, found: Mapping[Measured, tuple[str, Figures]]) -> None:
        """Take rows in, and write the file."""
        self.rows |= found
        if self.path is None:
            return
        with locked(self.path.parent, f"another program keeps {str(self.path)!r} locked: give another --per_image"):
            if self.path.exists():  # what others have added
                self._read()
            self.rows |= found
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(COLUMNS)
            for key, (method, figures) in sorted(self.rows.items()):
                writer.writerow([*key, method, *(f"{figures[name]:.6f}" for name in HEADERS)])
            write_text(self.path, text.getvalue())


def fingerprint(path: str | Path) -> str:
    """The first 12 hexadecimal digits of a file's SHA-256; '' for no file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] if path else ""


@dataclass(frozen=True)
class _Job:
    """What a worker process measures of one image.

    Attributes:
        wanted: quality, checkpoint ('': JPEG alone) and its fingerprint.
    """

    file: Path
    mode: str
    data: str
    wanted: tuple[tuple[int, str, str], ...]
    codec: str
    protocol: str


@lru_cache(maxsize=32)
def _model(path: str, mark: str) -> Model:
    model = load_model(path, torch.device("cpu"))
    if fingerprint(path) != mark:
        raise UserError(f"{path!r} has changed since the measurement began: measure a copy of it")
    return replace(model, tile=max(model.tile, WIDEST))


def _measure(job: _Job) -> dict[tuple[int, str], Figures]:
    """(quality, checkpoint or '' for the JPEG) -> figures of one image."""
    codec = get_codec(job.codec)
    metrics = get_protocol(job.protocol).metrics(job.data, job.mode)
    truth = load_image(job.file, job.mode)
    found = {}
    for quality, path, mark in job.wanted:
        model = _model(path, mark) if path else None
        padded = model is None or model.input.takes_tables
        _, row = evaluate_image(truth, model, quality=quality, codec=codec, padded=padded, metrics=metrics)
        found[quality, path] = row["restored" if path else "compressed"]
    return found


def measure(
    files: Sequence[Path], folder: Path, *, mode: str, data: str, qualities: Sequence[int], models: Models, codec: str,
    protocol: str, workers: int, record: Record,
) -> dict[tuple[int, str], Figures]:  # fmt: skip
    """Mean figures over the images of ``folder`` by (quality, checkpoint or '' for the JPEG), in worker processes.

    Processes, not threads: the IJG codec is one library a process.
    """
    codec_name = get_codec(codec).name  # a package that is missing is better told here
    how = get_protocol(protocol).describe(data, mode)
    methods = {"": JPEG} | {path: name for name, path in models.items()}
    marks = {path: fingerprint(path) for path in (*methods, *files)}

    def key(file: Path, quality: int, path: str) -> Measured:
        image = name_of(file.relative_to(folder))
        return Measured(data, mode, quality, codec_name, how, marks[path], image, marks[file])

    pairs = [(quality, path) for quality in qualities for path in methods]
    jobs = []
    for file in files:
        wanted = tuple((*pair, marks[pair[1]]) for pair in pairs if key(file, *pair) not in record.rows)
        if wanted:
            jobs.append(_Job(file, mode, data, wanted, codec, protocol))
    if jobs:
        with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            bar = tqdm(pool.map(_measure, jobs), f"{data} {mode}", len(jobs), unit="image", leave=False)
            for job, found in zip(jobs, bar, strict=True):
                record.add({key(job.file, *pair): (methods[pair[1]], figures) for pair, figures in found.items()})
    return {
        pair: {name: float(np.mean([record.rows[key(file, *pair)][1][name] for file in files])) for name in HEADERS}
        for pair in pairs
    }
