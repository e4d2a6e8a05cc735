"""The two loops: one epoch of training, one restored image. No options, no paths."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from dataset import Loader
from dataset.crops import Batch
from dataset.jpeg import scale, unscale
from jpeg.codec import Compressed
from jpeg.tables import BLOCK
from utils.image import pad_to_multiple

TILE = 1024
"""Side of the tiles in which large images are restored, pixels: small enough for a laptop's memory."""


def train_one_epoch(
    network: nn.Module,
    loader: Loader,
    batches: Iterable[Batch],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    autocast: AbstractContextManager,
    accumulate: int = 1,
    before_step: Callable[[], None],
    after_step: Callable[[float, int], bool],
) -> bool:
    """Take a step for every batch.

    Args:
        loader: assembles the network's input.
        loss_function: (restored, ground truth), both B x C x H x W about [-1, 1] -> one value a sample.
        autocast: entered around the forward pass.
        accumulate: parts in which each batch goes through the network; their gradients add up to the batch's.
        before_step: called before each step; sets the learning rate.
        after_step: called with this process's share of the step's loss and its samples; False ends the epoch.

    Returns:
        Whether the epoch was finished.

    Raises:
        FloatingPointError: if the loss or its gradient is not finite; the weights are those before that step.
    """
    network.train()
    for batch in batches:
        before_step()
        batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
        parts = [Batch(*part) for part in zip(*(tensor.chunk(accumulate) for tensor in batch), strict=True)]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=device)
        for number, part in enumerate(parts, 1):
            # several processes add their gradients up once a step
            alone = network.no_sync() if number < len(parts) and hasattr(network, "no_sync") else nullcontext()
            with alone:
                with autocast:
                    whole = loader.whole_image(part.compressed)
                    restored = network(loader.network_input(part.compressed, part.tables, whole))
                losses = loss_function(restored.float(), scale(part.ground_truth))
                part_loss = (losses * part.weights).sum()
                part_loss.backward()
                loss += part_loss.detach()
        gradient = nn.utils.clip_grad_norm_(network.parameters(), float("inf"))  # clips nothing: measured alone
        for name, value in (("loss", loss.item()), ("gradient", gradient.item())):
            if not np.isfinite(value):
                raise FloatingPointError(f"the {name} became {value}")
        optimizer.step()
        if not after_step(loss.item(), int(batch.weights.count_nonzero())):
            return False
    return True


@torch.inference_mode()
def restore_image(
    network: nn.Module,
    loader: Loader,
    compressed: Compressed,
    *,
    device: torch.device,
    dtype: type = np.float32,
    tile: int = TILE,
) -> np.ndarray:
    """Restore one decoded JPEG of any size, the one way for validation, evaluation and users' files.

    The image is padded at the bottom and right to whole blocks by edge replication and the result cropped back.
    Large images go through the network in tiles, each with a halo of the network's reach, so that the result is the
    whole image's to float rounding; what the loader takes from the whole image is made once.

    Args:
        compressed: uint8 pixels H x W x C and tables T x 8 x 8, with C and T as the network takes them.
        dtype: of the result: np.float32, not rounded, or rounded to np.uint8 or np.uint16.
        tile: side of a tile without its halo, pixels, a multiple of 8.

    Returns:
        H x W x C on 0..255 (float32, uint8) or 0..65535 (uint16).
    """
    assert tile % BLOCK == 0
    height, width = compressed.pixels.shape[:2]
    pixels = torch.tensor(pad_to_multiple(compressed.pixels, BLOCK)).permute(2, 0, 1)[None]
    tables = torch.tensor(compressed.tables)[None].to(device)
    halo = -(-network.halo // BLOCK) * BLOCK
    network.eval()
    whole = loader.whole_image(pixels.to(device))
    restored = np.empty((*pixels.shape[2:], pixels.shape[1]), dtype)
    for top in range(0, pixels.shape[2], tile):
        for left in range(0, pixels.shape[3], tile):
            above, before = min(top, halo), min(left, halo)
            part = pixels[..., top - above : top + tile + halo, left - before : left + tile + halo].to(device)
            output = network(loader.network_input(part, tables, whole))
            output = output[0, :, above : above + tile, before : before + tile].permute(1, 2, 0)
            restored[top : top + tile, left : left + tile] = _levels(unscale(output.float()), dtype).cpu().numpy()
    return restored[:height, :width]


def _levels(values: Tensor, dtype: type) -> Tensor:
    """Floats on 0..255 clipped and, for integer types, rounded to the type's levels."""
    values = values.clamp(0, 255)
    if dtype is np.float32:
        return values
    return (values * (np.iinfo(dtype).max / 255)).round().to(torch.uint8 if dtype is np.uint8 else torch.int32)


def to_bytes(restored: np.ndarray) -> np.ndarray:
    """Round floats on 0..255 to uint8."""
    return np.rint(restored).astype(np.uint8)
