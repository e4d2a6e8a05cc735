"""Training data: files -> decoded images -> batches of compressed crops, and the images to validate on."""

import logging
import os
import signal
import threading
import time
import warnings
from pathlib import Path

from torch.utils.data import DataLoader

from qgcn.dataset.crops import CompressedCrops, Samples, StepSampler, disjoint_crops
from qgcn.dataset.degradation import Degradation
from qgcn.dataset.store import ImageStore
from qgcn.utils import distributed
from qgcn.utils.errors import UserError
from qgcn.utils.image import image_files

log = logging.getLogger("train")


def training_files(root: str, holdout: int | None) -> tuple[list[Path], list[Path]]:
    """The images below a folder to train on, and with ``holdout`` those of them to validate on (`split_holdout`).

    Raises:
        UserError: if there are none.
    """
    if not Path(root).is_dir():
        problem = "is no folder" if Path(root).exists() else "does not exist"
        raise UserError(
            f"the folder of training images {root!r} {problem}: name one with --imgGTRoot, or get DIV2K with "
            "src/fetch_data.py DIV2K"
        )
    files, held_out = split_holdout(image_files(root), holdout)
    if not files:
        raise UserError(f"--holdout {holdout} leaves no image of {root!r} to train on")
    if holdout and not held_out:
        raise UserError(f"--holdout {holdout} holds no image out: no folder of {root!r} has so many")
    return files, held_out


def validation_files(root: str) -> list[Path]:
    """The images below a folder to validate on; raises UserError if there are none."""
    if not Path(root).is_dir():
        raise UserError(
            f"the folder of validation images {root!r} does not exist: name one with --imgValidRoot, or keep training "
            "images out with --holdout"
        )
    return image_files(root)


def split_holdout(files: list[Path], every: int | None) -> tuple[list[Path], list[Path]]:
    """Training and held-out files: every ``every``-th file of each folder is held out; None holds nothing out."""
    training, held_out, position = [], [], {}
    for file in files:
        position[file.parent] = position.get(file.parent, 0) + 1
        chosen = held_out if every and position[file.parent] % every == 0 else training
        chosen.append(file)
    return training, held_out


def decode(files: list[Path], folder: str, mode: str) -> ImageStore:
    """The images of ``files``, decoded into a store; those that can't be read are named, counted and left out."""
    store = ImageStore(folder, mode)
    if files:
        store.add(files, workers=os.cpu_count() or 1, progress=distributed.rank() == 0)
    for sentence in store.unreadable:
        log.warning("left out: %s", sentence)
    if store.unreadable:
        log.warning("left out %d of %d images that can't be read", len(store.unreadable), len(files))
    return store


def training_batches(
    store: ImageStore, degradation: Degradation, *, size: int, samples: int | None, batch: int, seed: int, workers: int
) -> DataLoader:
    """The batches of this process; ``batch_sampler`` of what is returned is the `StepSampler` that sets the position.

    Images smaller than a crop leave the store.

    Args:
        size: side of the crops, pixels.
        samples: samples an epoch; None for all disjoint crops.
        batch: samples a step, over all processes.
        seed: of the whole run.
        workers: processes that make samples; 0 makes them in this one.

    Raises:
        UserError: if no image is large enough.
    """
    crops = disjoint_crops(store.shapes, size)
    store.keep(crops.nonzero()[0])
    if store.dropped:
        names = ", ".join(map(str, store.dropped))
        log.warning("left out %d images smaller than the crop of %d: %s", len(store.dropped), size, names)
    if not crops.any():
        raise UserError(f"no image of --imgGTRoot holds a crop of {size} x {size} pixels: lower --size")
    sampler = StepSampler(
        crops=crops[crops > 0],
        samples=samples or int(crops.sum()),
        batch=batch,
        seed=seed,
        rank=distributed.rank(),
        world=distributed.world(),
    )
    # --threads is what the user asked for; torch's advice about it would come once an epoch.
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
    return DataLoader(
        CompressedCrops(images=store, size=size, seed=seed, degradation=degradation),
        batch_sampler=sampler,
        collate_fn=as_is,
        num_workers=workers,
        persistent_workers=workers > 0,
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
