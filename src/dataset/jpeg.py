"""`jpeg`: the compressed pixels alone, as EDSR and AR-CNN take them."""

import torch
from torch import Tensor

MAPS = {3: 0, 1: 0}


def scale(values: Tensor) -> Tensor:
    """Map 0..255 to [-1, 1], bytes to float32: (v / 255 - 0.5) / 0.5."""
    return torch.div(values, 255).sub_(0.5).div_(0.5)  # in place: fresh memory would cost more than the arithmetic


def unscale(values: Tensor) -> Tensor:
    """The inverse of `scale`, unrounded and unclipped: floats on 0..255."""
    return (values * 0.5 + 0.5) * 255


def whole_image(compressed: Tensor, reductions: Tensor | None = None) -> None:
    """What the whole image contributes to the input of each of its parts: nothing."""


def network_input(compressed: Tensor, tables: Tensor, whole: None) -> Tensor:
    """Pixels (uint8, B x C x H x W) in [-1, 1]; the tables are not used."""
    return scale(compressed)
