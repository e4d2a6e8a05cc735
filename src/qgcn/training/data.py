"""Training data: options -> files -> decoded images -> batches of compressed crops, and the images to validate on."""

import logging
import os
import signal
import threading
import time
import warnings
from argparse import Namespace
from collections import Counter
from pathlib import Path

from torch.utils.data import DataLoader

from qgcn.dataset.crops import CompressedCrops, Samples, StepSampler, disjoint_crops
from qgcn.dataset.degradation import Degradation, build_degradation
from qgcn.dataset.store import ImageStore
from qgcn.utils import distributed
from qgcn.utils.errors import UserError
from qgcn.utils.image import image_files

log = logging.getLogger("train")


def build_data(options: Namespace) -> tuple[DataLoader, ImageStore]:
    """The training batches of this process and the images to validate on.

    The first process decodes what is not stored yet. ``batch_sampler`` of the batches is the `StepSampler` that sets
    their position.

    Raises:
        UserError: if there are no images of a kind, or none that can be used.
    """
    files, to_validate = _files(options)
    degradation = build_degradation(options.degradation, tuple(options.quality), options.colorMode, options.codec)

    def decoded() -> tuple[DataLoader, ImageStore]:
        batches = _batches(options, _decode(files, options.store, degradation.source), degradation)
        readable = _decode(to_validate, options.store, options.colorMode)
        if to_validate and not len(readable):
            reason = readable.unreadable[0]
            raise UserError(f"none of the {len(to_validate)} images to validate on can be read: {reason}")
        return batches, readable

    return distributed.in_turn(decoded)


def _files(options: Namespace) -> tuple[list[Path], list[Path]]:
    """The files of the images to train on, and of those to validate on."""
    root, every = options.imgGTRoot, options.holdout
    if not Path(root).is_dir():
        problem = "is no folder" if Path(root).exists() else "does not exist"
        remedy = "name one with --imgGTRoot, or get DIV2K with src/fetch_data.py DIV2K"
        raise UserError(f"the folder of training images {root!r} {problem}: {remedy}")
    files, held_out = split_holdout(image_files(root), every)
    if not files:
        raise UserError(f"--holdout {every} leaves no image of {root!r} to train on")
    if every and not held_out:
        raise UserError(f"--holdout {every} holds no image out: no folder of {root!r} has so many")
    if every or not options.validation:
        return files, held_out
    if not Path(options.imgValidRoot).is_dir():
        remedy = "name one with --imgValidRoot, or keep training images out with --holdout"
        raise UserError(f"the folder of validation images {options.imgValidRoot!r} does not exist: {remedy}")
    return files, image_files(options.imgValidRoot)


def split_holdout(files: list[Path], every: int | None) -> tuple[list[Path], list[Path]]:
    """Training and held-out files: every ``every``-th file of each folder is held out; None holds nothing out."""
    training, held_out, position = [], [], Counter()
    for file in files:
        position[file.parent] += 1
        (held_out if every and position[file.parent] % every == 0 else training).append(file)
    return training, held_out


def _decode(files: list[Path], folder: str, mode: str) -> ImageStore:
    """The images of ``files``, decoded into a store; those that can't be read are named, counted and left out."""
    store = ImageStore(folder, mode)
    if files:
        store.add(files, workers=os.cpu_count() or 1, progress=distributed.rank() == 0)
    for sentence in store.unreadable:
        log.warning("left out: %s", sentence)
    if store.unreadable:
        log.warning("left out %d of %d images that can't be read", len(store.unreadable), len(files))
    return store


def _batches(options: Namespace, store: ImageStore, degradation: Degradation) -> DataLoader:
    """The batches of this process; images smaller than a crop leave the store."""
    size, seed = options.size, options.seed
    crops = disjoint_crops(store.shapes, size)
    store.keep(crops.nonzero()[0])
    if store.dropped:
        names = ", ".join(map(str, store.dropped))
        log.warning("left out %d images smaller than the crop of %d: %s", len(store.dropped), size, names)
    if not len(store) and store.unreadable:
        raise UserError(f"none of the images of --imgGTRoot can be read: {store.unreadable[0]}")
    if not crops.any():
        raise UserError(f"no image of --imgGTRoot holds a crop of {size} x {size} pixels: lower --size")
    samples, rank, world = options.samples_per_epoch or int(crops.sum()), distributed.rank(), distributed.world()
    # --threads is what the user asked for; torch's advice about it would come once an epoch.
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    return DataLoader(
        CompressedCrops(images=store, size=size, seed=seed, degradation=degradation),
        batch_sampler=StepSampler(
            crops=crops[crops > 0], samples=samples, batch=options.batchSize, seed=seed, rank=rank, world=world
        ),
        collate_fn=as_is,
        num_workers=options.threads,
        persistent_workers=options.threads > 0,
        worker_init_fn=_begin_worker,
    )


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
