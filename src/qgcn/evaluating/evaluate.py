"""The one evaluation: images -> rows of metrics."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from qgcn.evaluating.metrics import Metrics
from qgcn.jpeg.codec import Codec, Compressed
from qgcn.jpeg.tables import BLOCK
from qgcn.restoring.model import Model
from qgcn.restoring.tiles import to_bytes
from qgcn.utils import distributed
from qgcn.utils.files import name_of
from qgcn.utils.image import load_image, output_names, pad_to_multiple, save_png

Item, Made = TypeVar("Item"), TypeVar("Made")

Row = dict[str, Any]  # {"name", "compressed": {metric: value}, "restored": {metric: value} or None}, as in the JSON


def restore_compressed(model: Model, compressed: Compressed) -> np.ndarray:
    """The restored image as uint8, H x W x C, with the published edges.

    `eval` (EDSR, AR-CNN) restores an even size only: an odd last row or column stays as compressed. `eval_qm` and
    `eval_qmg` get whole blocks.
    """
    height, width = compressed.pixels.shape[:2]
    even = np.s_[: height - height % 2, : width - width % 2]
    restored = compressed.pixels.copy()
    if restored[even].size:
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
    compressed = _compress(ground_truth, model, quality=quality, codec=codec, padded=padded)
    pictures = _pictures(ground_truth, compressed, model)
    return pictures, _row(pictures, ground_truth, metrics)


def _compress(ground_truth: np.ndarray, model: Model | None, *, quality: int, codec: Codec, padded: bool) -> Compressed:
    """The one place that says whether whole blocks are compressed."""
    if model is not None:
        padded = model.input.takes_tables
    return codec.compress(pad_to_multiple(ground_truth, BLOCK) if padded else ground_truth, quality)


def _pictures(ground_truth: np.ndarray, compressed: Compressed, model: Model | None) -> dict[str, np.ndarray]:
    height, width = ground_truth.shape[:2]
    pictures = {"compressed": compressed.pixels}
    if model is not None:
        pictures["restored"] = restore_compressed(model, compressed)
    return {which: picture[:height, :width] for which, picture in pictures.items()}


def _row(pictures: dict[str, np.ndarray], ground_truth: np.ndarray, metrics: Metrics) -> Row:
    row: Row = {"compressed": None, "restored": None}
    for which, picture in pictures.items():
        row[which] = {name: metric(picture, ground_truth) for name, metric in metrics.items()}
    return row


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
        workers: threads that read, compress and measure beside the network, which stays in this one; 0: none.

    Raises:
        UserError: if an image can't be read.
    """

    def read(file: Path) -> tuple[np.ndarray, Compressed]:
        ground_truth = load_image(file, mode)
        return ground_truth, _compress(ground_truth, model, quality=quality, codec=codec, padded=padded)

    def score(image: tuple[Path, Path, np.ndarray, dict[str, np.ndarray]]) -> Row:
        file, name, ground_truth, shown = image
        for which in shown if pictures else ():
            save_png(pictures / which / name, shown[which])
        return {"name": name_of(file.relative_to(root or file.parent)), **_row(shown, ground_truth, metrics)}

    ours = slice(distributed.rank(), None, distributed.world())
    files, names = files[ours], (picture_names(files, root) if pictures else files)[ours]
    with ThreadPoolExecutor(workers or 1) as pool:  # begins a thread when it is given work
        ahead = partial(_ahead, pool, 2 * workers)
        restored = (
            (file, name, truth, _pictures(truth, compressed, model))
            for file, name, (truth, compressed) in zip(files, names, ahead(read, files), strict=True)
        )
        title = f"quality {quality}"
        bar = tqdm(ahead(score, restored), title, len(files), unit="image", disable=not progress, leave=False)
        return distributed.gather(list(bar))


def picture_names(files: Sequence[Path], root: Path | None) -> list[Path]:
    """The names of the PNGs that `evaluate` writes, in the order of ``files``."""
    return output_names([file.relative_to(root or file.parent) for file in files], ".png")


def _ahead(pool: Executor, count: int, function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """What ``function`` makes of each item, in order, made by a pool up to ``count`` items ahead; 0: by this thread."""
    if not count:
        yield from map(function, items)
        return
    items = iter(items)
    futures = deque(pool.submit(function, item) for item in islice(items, count))
    while futures:
        made = futures.popleft().result()
        futures.extend(pool.submit(function, item) for item in islice(items, 1))
        yield made


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of each metric over images (the mean of dB values, as every table of the field)."""
    return {
        which: {name: float(np.mean([row[which][name] for row in rows])) for name in rows[0][which]}
        if rows[0][which]
        else None
        for which in ("compressed", "restored")
    }
