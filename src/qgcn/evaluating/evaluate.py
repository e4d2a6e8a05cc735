"""The one evaluation: images -> rows of metrics."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from qgcn.evaluating.metrics import Metrics
from qgcn.jpeg.codec import Codec, Compressed
from qgcn.jpeg.tables import BLOCK
from qgcn.restoring.model import Model
from qgcn.restoring.tiles import to_bytes
from qgcn.utils import distributed
from qgcn.utils.files import name_of
from qgcn.utils.image import load_image, output_names, pad_to_multiple, save_png

Row = dict[str, Any]
"""{"name", "compressed": {metric: value}, "restored": {metric: value} or None}, as in the JSON."""

_NETWORK = Lock()
"""A network takes all cores and much memory: one image goes through it at a time."""


def restore_compressed(model: Model, compressed: Compressed) -> np.ndarray:
    """The restored image as uint8, H x W x C, with the published edges.

    `eval` (EDSR, AR-CNN) restores an even size only: an odd last row or column stays as compressed. `eval_qm` and
    `eval_qmg` get whole blocks.
    """
    height, width = compressed.pixels.shape[:2]
    even = np.s_[: height - height % 2, : width - width % 2]
    restored = compressed.pixels.copy()
    if restored[even].size:
        with _NETWORK:
            restored[even] = to_bytes(model.restore(compressed._replace(pixels=compressed.pixels[even])))
    return restored


def evaluate_image(
    ground_truth: np.ndarray, model: Model | None, *, quality: int, codec: Codec, metrics: Metrics, padded: bool = True
) -> tuple[dict[str, np.ndarray], Row]:
    """Compress and restore one image and measure both against it.

    Whole blocks are compressed where the network takes quantization maps: the ground truth is padded by edge
    replication, and the pictures are cropped back, as `eval_qm` and `eval_qmg` do.

    Args:
        ground_truth: uint8, H x W x C.
        model: None measures the JPEG alone.
        metrics: of a protocol (metrics.Protocol.metrics).
        padded: whether whole blocks are compressed without a model.

    Returns:
        The pictures {"compressed", "restored"}, uint8 like the ground truth, and the row without its name.
    """
    if model is not None:
        padded = model.input.takes_tables
    height, width = ground_truth.shape[:2]
    compressed = codec.compress(pad_to_multiple(ground_truth, BLOCK) if padded else ground_truth, quality)
    pictures = {"compressed": compressed.pixels}
    if model is not None:
        pictures["restored"] = restore_compressed(model, compressed)
    pictures = {which: picture[:height, :width] for which, picture in pictures.items()}
    row: Row = {"compressed": None, "restored": None}
    for which, picture in pictures.items():
        row[which] = {name: metric(picture, ground_truth) for name, metric in metrics.items()}
    return pictures, row


def evaluate(
    files: Sequence[Path],
    model: Model | None,
    *,
    mode: str,
    quality: int,
    codec: Codec,
    metrics: Metrics,
    padded: bool = True,
    root: Path | None = None,
    pictures: Path | None = None,
    progress: bool = False,
    workers: int = 0,
) -> list[Row]:
    """Evaluate images; several processes share them and all return all rows, in the order of ``files``.

    Args:
        mode: 'RGB' or 'L' (MATLAB's Y).
        metrics, padded: see `evaluate_image`.
        root: folder that the rows' names are relative to (default: the file's own).
        pictures: folder for PNGs of the compressed and restored images (`picture_names`), or None.
        workers: threads that read, compress and measure beside the network.

    Raises:
        UserError: if an image can't be read.
    """
    from tqdm import tqdm

    def row_of(file: Path, picture: Path) -> Row:
        ground_truth = load_image(file, mode)
        shown, row = evaluate_image(ground_truth, model, quality=quality, codec=codec, metrics=metrics, padded=padded)
        for which in shown if pictures else ():
            save_png(pictures / which / picture, shown[which])
        return {"name": name_of(file.relative_to(root or file.parent)), **row}

    pairs = list(zip(files, picture_names(files, root), strict=True))[distributed.rank() :: distributed.world()]
    rows = _in_order(lambda pair: row_of(*pair), pairs, workers)
    bar = tqdm(rows, f"quality {quality}", len(pairs), unit="image", disable=not progress, leave=False)
    return distributed.gather(list(bar))


def picture_names(files: Sequence[Path], root: Path | None) -> list[Path]:
    """The names of the PNGs that `evaluate` writes, in the order of ``files``."""
    return output_names([file.relative_to(root or file.parent) for file in files], ".png")


def _in_order(function: Callable, items: Iterable, workers: int) -> Iterator:
    """What ``function`` makes of each item, by this thread alone or by ``workers`` threads and one for the network."""
    if not workers:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers + 1) as pool:
        yield from pool.map(function, items)  # an error leaves undone what has not begun


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of each metric over images (the mean of dB values, as every table of the field)."""
    return {
        which: {name: float(np.mean([row[which][name] for row in rows])) for name in rows[0][which]}
        if rows[0][which]
        else None
        for which in ("compressed", "restored")
    }
