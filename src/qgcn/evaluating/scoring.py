"""The parts of an evaluation that need no network, here or in worker processes: compressing and measuring."""

import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qgcn.evaluating.metrics import Metrics
from qgcn.jpeg.codec import Codec, Compressed
from qgcn.jpeg.tables import BLOCK
from qgcn.utils.image import load_image, pad_to_multiple, save_png


class Prepared(NamedTuple):
    """A ground truth, uint8, H x W x C, and what a codec made of it, perhaps padded at the bottom and right."""

    ground_truth: np.ndarray
    compressed: Compressed


def prepare(ground_truth: np.ndarray, *, quality: int, codec: Codec, padded: bool) -> Prepared:
    """Compress a ground truth, ``padded`` to whole blocks by edge replication or not."""
    return Prepared(
        ground_truth, codec.compress(pad_to_multiple(ground_truth, BLOCK) if padded else ground_truth, quality)
    )


def prepare_file(file: Path, mode: str, *, quality: int, codec: Codec, padded: bool) -> Prepared:
    """`prepare` an image file in colour mode 'RGB' or 'L'; raises UserError if it can't be read."""
    return prepare(load_image(file, mode), quality=quality, codec=codec, padded=padded)


def score(
    pictures: dict[str, np.ndarray], ground_truth: np.ndarray, metrics: Metrics, files: dict[str, Path] | None = None
) -> dict[str, dict[str, float]]:
    """The figures of each picture (uint8, H x W x C); with ``files`` it is written as PNG, too."""
    for which, file in (files or {}).items():
        save_png(file, pictures[which])
    return {
        which: {name: metric(picture, ground_truth) for name, metric in metrics.items()}
        for which, picture in pictures.items()
    }


class ThisProcess(Executor):
    """An executor that does the work at once, where it is asked to."""

    def submit(self, function, /, *arguments, **keywords) -> Future:
        """A finished future."""
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **keywords))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def scoring_workers(count: int) -> Iterator[Executor]:
    """``count`` worker processes, or this process for 0; an error leaves what has not begun undone."""
    if not count:
        yield ThisProcess()
        return
    with ProcessPoolExecutor(count, get_context("spawn"), _ignore_interrupts) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process alone answers Ctrl-C
