"""`jpeg_qm`: pixels and quantization maps, as QCN takes them (paper section III-A)."""

import torch
from torch import Tensor

from dataset.jpeg import scale, whole_image
from jpeg.tables import BLOCK

MAPS = {3: 2, 1: 1}

__all__ = ["MAPS", "network_input", "quantization_map", "whole_image"]


def network_input(compressed: Tensor, tables: Tensor, whole: None) -> Tensor:
    """Pixels (uint8, B x C x H x W), then the maps of tables (uint8, B x T x 8 x 8): B x (C + T) x H x W in [-1, 1]."""
    maps = quantization_map(scale(tables), *compressed.shape[2:])
    return torch.cat([scale(compressed), maps], dim=1)


def quantization_map(tables: Tensor, height: int, width: int) -> Tensor:
    """Tile tables (B x T x 8 x 8, any dtype) from the top-left corner over B x T x height x width."""
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    return tables.repeat(1, 1, rows, columns)[..., :height, :width]
