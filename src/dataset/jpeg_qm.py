"""`jpeg_qm`: pixels and quantization maps, as QCN takes them (paper section III-A)."""

import torch
from torch import Tensor

from dataset.jpeg import scale, whole_image
from jpeg.tables import quantization_map

TABLES = True

__all__ = ["TABLES", "network_input", "whole_image"]


def network_input(compressed: Tensor, tables: Tensor, whole: None) -> Tensor:
    """Pixels (uint8, B x C x H x W), then the maps of tables (uint8, B x T x 8 x 8): B x (C + T) x H x W in [-1, 1]."""
    maps = quantization_map(scale(tables), *compressed.shape[2:])
    return torch.cat([scale(compressed), maps], dim=1)
