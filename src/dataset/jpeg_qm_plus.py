"""`jpeg_qm_plus`: pixels and quantization maps, the maps' logarithms, and how chroma was sampled (not in the paper).

The published maps are linear: steps of 1 and 4, between which a file is nearly lossless or not, differ by 0.02 of their
range. And pixels alone hardly tell a file of 4:2:0, whose chroma wants its detail back, from one of 4:4:4, which never
lost it.
"""

import torch
from torch import Tensor

from dataset import jpeg_qm
from dataset.jpeg_qm import quantization_map

MAPS = {3: 6, 1: 2}


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
    """The input of QCN, the maps' logarithms and, of colour, planes of ``whole``: B x (C + MAPS[C]) x H x W."""
    size = compressed.shape[2:]
    parts = [jpeg_qm.network_input(compressed, tables, None), quantization_map(log_scale(tables), *size)]
    if whole is not None:
        parts.append(whole[..., None, None].expand(-1, -1, *size))
    return torch.cat(parts, dim=1)


def log_scale(steps: Tensor) -> Tensor:
    """Map steps 1..255 (uint8) to about [-1, 1] by their logarithm: log2(v) / 4 - 1."""
    return torch.log2(steps.float()) / 4 - 1
