"""`jpeg_qm_plus`: pixels, quantization maps and what else a file says of its own damage (not in the paper).

- The maps' logarithms: linear maps of steps 1 and 4, between which a file is nearly lossless or not, differ by 0.02.
- How chroma was sampled: pixels alone hardly tell 4:2:0, whose chroma wants its detail back, from 4:4:4, which never
  lost it.
- The strength, by which the network scales its change of the pixels, so that it leaves good files alone.
"""

import torch
from torch import Tensor

from dataset import jpeg_qm
from dataset.jpeg_qm import quantization_map

MAPS = {3: 7, 1: 3}

FULL_STRENGTH = 14.0
"""Root mean square of the steps, from which on the strength is 1: standard tables of quality 90 have 16."""


def whole_image(compressed: Tensor, reductions: Tensor | None = None) -> Tensor | None:
    """Of colour B x 2: 1 where the rows, and the columns, of chroma are reduced, else -1; of gray nothing.

    Args:
        compressed: uint8, B x C x H x W.
        reductions: uint8, B x 2, by how much they are; None stands for 4:2:0.
    """
    if compressed.shape[1] == 1:
        return None
    if reductions is None:
        return torch.ones(len(compressed), 2, device=compressed.device)
    return (reductions > 1).float() * 2 - 1


def network_input(compressed: Tensor, tables: Tensor, whole: Tensor | None) -> Tensor:
    """The input of QCN, the maps' logarithms, planes of ``whole`` and of the strength: B x (C + MAPS[C]) x H x W.

    All lie in [-1, 1], the strength in (0, 1].
    """
    size = compressed.shape[2:]
    numbers = strength(tables, whole) if whole is None else torch.cat([whole, strength(tables, whole)], dim=1)
    planes = numbers[..., None, None].expand(-1, -1, *size)
    maps = jpeg_qm.network_input(compressed, tables, None)
    return torch.cat([maps, quantization_map(log_scale(tables), *size), planes], dim=1)


def log_scale(steps: Tensor) -> Tensor:
    """Map steps 1..255 (uint8) to about [-1, 1] by their logarithm: log2(v) / 4 - 1."""
    return torch.log2(steps.float()) / 4 - 1


def strength(tables: Tensor, whole: Tensor | None) -> Tensor:
    """How much of a change tables (uint8, B x T x 8 x 8) let one expect, B x 1 in (0, 1].

    The squared error of quantization grows with the mean square of the steps. Each direction in which chroma is reduced
    adds half of what makes the strength 1, so that it is 1 for 4:2:0.
    """
    squared = tables.float().square().mean((1, 2, 3))[:, None] / FULL_STRENGTH**2
    if whole is not None:
        squared = squared + (whole > 0).sum(1, keepdim=True) / 2
    return squared.clamp_max(1).sqrt()
