"""The rows of evaluated images, kept in a CSV: what is in it is not measured again."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from qgcn import checkpoints
from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.evaluate import evaluate
from qgcn.evaluating.metrics import Protocol, get_protocol
from qgcn.evaluating.report import HEADERS, csv_text
from qgcn.jpeg.codec import Codec
from qgcn.restoring.model import load_model
from qgcn.utils.errors import UserError
from qgcn.utils.files import check_writable, locked, name_of, write_text

Models = Mapping[str, str]  # column name -> checkpoint
Figures = dict[str, float]  # metric (psnr, ssim, psnr_b) -> value
JPEG = "JPEG"  # the column of the compressed images themselves


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


COLUMNS = (*Measured._fields, "method", *HEADERS)

BATCH = 16  # images after which the rows are written

WIDEST = 768  # pixels: the images of the paper's data sets go in one tile, without a halo's work


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
        if self.path:
            check_writable(self.path)
            self._read()

    def _read(self) -> None:
        """Take in what the CSV holds, if it is there."""
        if not self.path.exists():
            return
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if tuple(reader.fieldnames or ()) != COLUMNS:
                    raise ValueError("other columns")
                for row in reader:
                    key = Measured(*(row[name] for name in Measured._fields))._replace(quality=int(row["quality"]))
                    self.rows[key] = row["method"], {name: float(row[name]) for name in HEADERS}
        except (ValueError, KeyError, TypeError, csv.Error):  # text, numbers or columns that are not ours
            raise UserError(f"{str(self.path)!r} is no CSV of measured images: give another --per_image") from None

    def add(self, found: Mapping[Measured, tuple[str, Figures]]) -> None:
        """Take rows in, and write the file."""
        self.rows |= found
        if self.path is None:
            return
        with locked(self.path.parent, f"another program keeps {str(self.path)!r} locked: give another --per_image"):
            self._read()  # what others have added
            self.rows |= found
            rows = sorted(self.rows.items())
            lines = ([*key, method, *(f"{figures[name]:.6f}" for name in HEADERS)] for key, (method, figures) in rows)
            write_text(self.path, csv_text(COLUMNS, lines))


def fingerprint(path: str | Path) -> str:
    """The first 12 hexadecimal digits of a file's SHA-256; '' for no file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12] if path else ""


def protocol_of(name: str, data: str, mode: str) -> Protocol:
    """The protocol called ``name``; in the paper's, LIVE1 in colour alone has scikit-image's default SSIM, 7 x 7."""
    protocol = get_protocol(name)
    return replace(protocol, ssim="7x7") if (name, data, mode) == ("paper", "LIVE1", "RGB") else protocol


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


def mean_figures(
    data: str, mode: str, qualities: Sequence[int], models: Models, *, protocol: str, root: str, codec: Codec,
    workers: int, record: Record,
) -> dict[tuple[str, int], Figures]:  # fmt: skip
    """Mean figures over a data set by (JPEG or name of the model, quality); what the record lacks is measured.

    Args:
        data: data set below ``root``, or a folder.
        mode: colour mode, 'RGB' or 'L'.
        protocol: its name (`protocol_of`).
        workers: see evaluating.evaluate.
    """
    files, folder = find_images(data, root)
    measured_by = protocol_of(protocol, data, mode)
    images = {file: (name_of(file.relative_to(folder)), fingerprint(file)) for file in files}
    metrics, means = measured_by.metrics(), {}
    run = partial(evaluate, mode=mode, codec=codec, metrics=metrics, root=folder, workers=workers)
    for method, path in {JPEG: "", **models}.items():
        mark, model = fingerprint(path), None
        for quality in qualities:
            made_with = (data, mode, quality, codec.name, measured_by.describe(), mark)
            keys = {file: Measured(*made_with, *images[file]) for file in files}
            missing = [file for file in files if keys[file] not in record.rows]
            if missing and path and model is None:
                model = load_model(path)
                model = replace(model, tile=max(model.tile, WIDEST))
            batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
            title = f"{data} {mode}, {method}, quality {quality}"
            for batch in tqdm(batches, title, unit="batch", leave=False, disable=not batches):
                rows = run(batch, model, quality=quality)
                figures = [row["restored" if path else "compressed"] for row in rows]
                record.add({keys[file]: (method, of_image) for file, of_image in zip(batch, figures, strict=True)})
            figures = [record.rows[key][1] for key in keys.values()]
            means[method, quality] = {name: float(np.mean([row[name] for row in figures])) for name in HEADERS}
    return means
