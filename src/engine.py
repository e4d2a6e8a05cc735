"""The two loops: one epoch of training, one restored image. No options, no paths."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from dataset import NetworkInput
from dataset.crops import Batch
from dataset.jpeg import scale, unscale
from jpeg.codec import Compressed
from jpeg.tables import BLOCK
from utils.image import pad_to_multiple


def train_one_epoch(
    network: nn.Module,
    network_input: NetworkInput,
    batches: Iterable[Batch],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    device: torch.device,
    autocast: AbstractContextManager,
    before_step: Callable[[], None],
    after_step: Callable[[float, int], bool],
) -> bool:
    """Take a step for every batch.

    Args:
        network_input: assembles the network's argument from compressed pixels and tables.
        loss_function: (restored, ground truth), both B x C x H x W about [-1, 1] -> one value a sample.
        autocast: entered around the forward pass.
        before_step: called before each step; sets the learning rate.
        after_step: called with this process's share of the step's loss and its samples; False ends the epoch.

    Returns:
        Whether the epoch was finished.

    Raises:
        FloatingPointError: if the loss is not finite; the weights are those before that step.
    """
    network.train()
    for batch in batches:
        before_step()
        batch = Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
        with autocast:
            restored = network(network_input(batch.compressed, batch.tables))
        losses = loss_function(restored.float(), scale(batch.ground_truth))
        loss = (losses * batch.weights).sum()
        value = loss.item()
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss became {value}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if not after_step(value, int(batch.weights.count_nonzero())):
            return False
    return True


@torch.inference_mode()
def restore_image(
    network: nn.Module, network_input: NetworkInput, compressed: Compressed, *, device: torch.device
) -> np.ndarray:
    """Restore one decoded JPEG of any size, the one way for validation, evaluation and users' files.

    The image is padded at the bottom and right to whole blocks by edge replication and the result cropped back.

    Args:
        compressed: uint8 pixels H x W x C and tables T x 8 x 8, with C and T as the network takes them.

    Returns:
        float32, H x W x C on 0..255, not rounded.
    """
    height, width = compressed.pixels.shape[:2]
    pixels = torch.tensor(pad_to_multiple(compressed.pixels, BLOCK)).permute(2, 0, 1)
    tables = torch.tensor(compressed.tables)
    network.eval()
    restored = network(network_input(pixels[None].to(device), tables[None].to(device)))
    restored = unscale(restored[0].float()).clamp(0, 255).permute(1, 2, 0)
    return restored[:height, :width].cpu().numpy()


def to_bytes(restored: np.ndarray) -> np.ndarray:
    """Round floats on 0..255 to uint8."""
    return np.rint(restored).astype(np.uint8)
