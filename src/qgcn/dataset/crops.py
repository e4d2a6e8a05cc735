"""Training samples: which crop of which image, compressed at which quality, is decided by a number alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from qgcn.dataset.degradation import Degradation, Degraded


class SampleKey(NamedTuple):
    """What determines one training sample, given the run's seed."""

    epoch: int
    index: int  # in the epoch
    image: int  # the image to crop
    weight: float  # its share of the step's mean loss times the number of processes


class Batch(NamedTuple):
    """One process's part of a training step, on the device that computes it.

    The loss of the step is the product of ``weights`` with the samples' losses, averaged over processes.
    """

    compressed: torch.Tensor  # uint8, B x C x size x size
    tables: torch.Tensor  # uint8, B x T x 8 x 8
    reductions: torch.Tensor  # uint8, B x 2, by how much rows and columns of chroma are reduced
    ground_truth: torch.Tensor  # uint8, B x C x size x size
    weights: torch.Tensor  # float32, B


class Samples(Batch):
    """A `Batch` as a worker sends it: NumPy arrays, which pass between processes in half the time of tensors.

    Their pixels, compressed and ground truth, are B x size x size x C.
    """

    def to(self, device: torch.device) -> Batch:
        """The batch on ``device``; to a GPU it is copied from pinned memory, while the GPU computes."""
        tensors = [torch.from_numpy(array) for array in self]
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))
        compressed, ground_truth = (pixels.permute(0, 3, 1, 2) for pixels in (batch.compressed, batch.ground_truth))
        return batch._replace(compressed=compressed, ground_truth=ground_truth)


class CompressedCrops(Dataset):
    """Random crops, flipped or rotated, and degraded (paper section IV-A).

    A sample depends on the seed and its key only, never on the worker, process or run that makes it.

    Args:
        images: uint8 arrays H x W x C, none smaller than the crop.
        size: side of the crop, pixels.
        seed: of the whole run.
        degradation: how a crop becomes a JPEG.
    """

    def __init__(self, *, images: Sequence[np.ndarray], size: int, seed: int, degradation: Degradation):
        self.images, self.size, self.seed, self.degradation = images, size, seed, degradation

    def __getitem__(self, key: SampleKey) -> Degraded:
        """The sample of a key."""
        return self.degradation.compress(*self._draw(key))

    def _draw(self, key: SampleKey) -> tuple:
        """All that is random about a sample: its crop, and how that is degraded."""
        # Counter-based: four numbers of 64 bits a sample, without the cost of seeding a generator for each.
        bits = np.random.Philox(key=self.seed, counter=[0, 0, key.index, key.epoch])
        row, column, turn, number = bits.random_raw(4).tolist()
        image = self.images[key.image]
        top = row % (image.shape[0] - self.size + 1)
        left = column % (image.shape[1] - self.size + 1)
        crop = dihedral(image[top : top + self.size, left : left + self.size], turn % 8)
        return self.degradation.draw(crop, number, bits)

    def __getitems__(self, keys: list[SampleKey]) -> Samples:
        """A whole batch at once, as the loader asks for it."""
        drawn = [self._draw(key) for key in keys]  # all first: one kind of work at a time makes use of the caches
        samples = [self.degradation.compress(*arguments) for arguments in drawn]
        stacked = (_stacked(arrays) for arrays in zip(*samples, strict=True))
        return Samples(*stacked, np.array([key.weight for key in keys], np.float32))


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one shape as one with one more axis; writing in place takes a fraction of np.stack's time."""
    stacked = np.empty((len(arrays), *arrays[0].shape), np.uint8)
    for place, array in zip(stacked, arrays, strict=True):
        place[...] = array
    return stacked


def dihedral(image: np.ndarray, which: int) -> np.ndarray:
    """One of the 8 flips and rotations of a square H x W x C image, contiguous.

    Bits of ``which``: 1 exchanges rows and columns, 2 turns rows around, 4 columns; 0 changes nothing.
    """
    pixels = image.view(f"V{image.shape[2]}")[..., 0]  # whole pixels are moved in half the time of single bytes
    if which & 1:
        pixels = pixels.T
    pixels = np.ascontiguousarray(pixels[:: -1 if which & 2 else 1, :: -1 if which & 4 else 1])
    return pixels.view(np.uint8).reshape(*pixels.shape, -1)


def disjoint_crops(shapes: Sequence[tuple[int, ...]], size: int) -> np.ndarray:
    """How many disjoint crops of side ``size`` each image shape (H, W, ...) holds."""
    return np.array([(height // size) * (width // size) for height, width, *_ in shapes], dtype=np.int64)


class StepSampler(Sampler):
    """The keys of one process's part of every step of an epoch, from any sample on.

    An image turns up as often as it holds disjoint crops: an epoch is a random permutation of all those crops'
    images, cut or repeated to ``samples``. Every sample belongs to exactly one process, whatever their number.

    Args:
        crops: disjoint crops of each image.
        samples: samples an epoch.
        batch: samples a step, over all processes.
        seed: of the whole run.
        rank, world: this process and the number of processes; world <= batch.
    """

    def __init__(self, *, crops: np.ndarray, samples: int, batch: int, seed: int, rank: int = 0, world: int = 1):
        self.owners = np.repeat(np.arange(len(crops)), crops)
        self.samples, self.batch, self.seed, self.rank, self.world = samples, batch, seed, rank, world
        self.epoch = self.start = 0

    def set_position(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and the first sample of it that is still to be used."""
        self.epoch, self.start = epoch, start

    def image_order(self) -> np.ndarray:
        """The image of each sample of the epoch."""
        random = np.random.default_rng([self.seed, self.epoch])
        rounds = -(-self.samples // len(self.owners))
        return np.concatenate([random.permutation(self.owners) for _ in range(rounds)])[: self.samples]

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order = self.image_order()
        for start in range(self.start, self.samples, self.batch):
            step = range(start, min(start + self.batch, self.samples))
            mine = step[self.rank :: self.world]
            weight = self.world / len(step)
            if not mine:  # a last step smaller than the number of processes: take part without weight
                mine, weight = step[:1], 0.0
            yield [SampleKey(self.epoch, index, int(order[index]), weight) for index in mine]

    def __len__(self) -> int:
        return -(-(self.samples - self.start) // self.batch)
