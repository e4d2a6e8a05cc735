"""What goes into a network: the three inputs by name, and the builder of training data."""

import logging
import os
import signal
import threading
import time
import warnings
from argparse import Namespace
from pathlib import Path

from torch.utils.data import DataLoader

from qgcn.dataset.crops import CompressedCrops, Samples, StepSampler, disjoint_crops
from qgcn.dataset.degradation import build_degradation
from qgcn.dataset.inputs import get_input
from qgcn.dataset.store import ImageStore
from qgcn.jpeg.tables import BLOCK
from qgcn.utils.errors import UserError
from qgcn.utils.image import image_files

log = logging.getLogger("train")


def split_holdout(files: list[Path], every: int | None) -> tuple[list[Path], list[Path]]:
    """Training and held-out files: every ``every``-th file of each folder is held out; None holds nothing out."""
    training, held_out, position = [], [], {}
    for file in files:
        position[file.parent] = position.get(file.parent, 0) + 1
        chosen = held_out if every and position[file.parent] % every == 0 else training
        chosen.append(file)
    return training, held_out


def decode(files: list[Path], options: Namespace, *, mode: str, rank: int) -> ImageStore:
    """The images of ``files``, decoded; those that can't be read are named, counted and left out."""
    store = ImageStore(options.store, mode)
    store.add(files, workers=os.cpu_count() or 1, progress=rank == 0)
    for sentence in store.unreadable if rank == 0 else ():
        log.warning("left out: %s", sentence)
    if store.unreadable and rank == 0:
        log.warning("left out %d of %d images that can't be read", len(store.unreadable), len(files))
    return store


def build_training_data(options: Namespace, *, files: list[Path], rank: int, world: int) -> DataLoader:
    """The batches of training: ``loader.batch_sampler`` is the StepSampler that sets the position.

    Raises:
        UserError: if no image is large enough, or options contradict each other.
    """
    if get_input(options.dataloader).takes_tables and options.size % BLOCK:
        raise UserError(f"--size {options.size} is not a multiple of {BLOCK}, which quantization maps need")
    if options.size % 2:
        raise UserError(f"--size {options.size} is odd: the networks need an even size")
    if options.batchSize < world:
        raise UserError(f"--batchSize {options.batchSize} is smaller than the number of processes, {world}")
    if options.batchSize < world * options.accumulate:
        raise UserError(
            f"--accumulate {options.accumulate} is more parts than a process has samples a step: --batchSize is "
            f"{options.batchSize}"
        )
    degradation = build_degradation(
        options.degradation, qualities=tuple(options.quality), mode=options.colorMode, codec=options.codec
    )
    store = decode(files, options, mode=degradation.source, rank=rank)
    crops = disjoint_crops(store.shapes, options.size)
    store.keep(crops.nonzero()[0])
    if small := store.dropped if rank == 0 else []:
        names = ", ".join(map(str, small))
        log.warning("left out %d images smaller than the crop of %d: %s", len(small), options.size, names)
    if not crops.any():
        raise UserError(f"no image under {options.imgGTRoot!r} holds a crop of {options.size} x {options.size} pixels")
    crops = crops[crops > 0]
    sampler = StepSampler(
        crops=crops,
        samples=options.samples_per_epoch or int(crops.sum()),
        batch=options.batchSize,
        seed=options.seed,
        rank=rank,
        world=world,
    )
    # --threads is what the user asked for; torch's advice about it would come once an epoch.
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    data = CompressedCrops(
        images=store,
        size=options.size,
        seed=options.seed,
        degradation=degradation,
    )
    return DataLoader(
        data,
        batch_sampler=sampler,
        collate_fn=as_is,
        num_workers=options.threads,
        persistent_workers=options.threads > 0,
        worker_init_fn=_begin_worker,
    )


def training_files(options: Namespace) -> tuple[list[Path], list[Path]]:
    """The images of --imgGTRoot and, with --holdout, those of them to validate on."""
    if not Path(options.imgGTRoot).is_dir():
        problem = "is no folder" if Path(options.imgGTRoot).exists() else "does not exist"
        raise UserError(
            f"the folder of training images {options.imgGTRoot!r} {problem}: name one with --imgGTRoot, or get "
            "DIV2K with src/fetch_data.py DIV2K"
        )
    files, held_out = split_holdout(image_files(options.imgGTRoot), options.holdout)
    if not files:
        raise UserError(f"--holdout {options.holdout} leaves no image of {options.imgGTRoot!r} to train on")
    if options.holdout and not held_out:
        raise UserError(
            f"--holdout {options.holdout} holds no image out: no folder of {options.imgGTRoot!r} has so many"
        )
    return files, held_out


def as_is(batch: Samples) -> Samples:
    """How batches are put together: `CompressedCrops` has done so."""
    return batch


def _begin_worker(_worker: int) -> None:
    """Let the main process alone decide what an interruption means: it saves, then ends its workers.

    A worker whose main process was killed would wait for ever to hand over its batch, and keep the run's folder locked.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
