"""What goes into each network: the one way to assemble it in training, evaluation and restoring."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qgcn.jpeg.tables import BLOCK
from qgcn.utils.errors import choose
from qgcn.utils.resize import resize_cubic

GLOBAL_SIZE = 112
"""Side of the resized image that QGCN's global branch sees, pixels (paper section III-C)."""

FULL_STRENGTH = 14.0
"""Root mean square of the steps, from which on QCN+'s strength is 1: standard tables of quality 90 have 16."""


class Input(NamedTuple):
    """The input of a kind of network."""

    planes: dict[int, int]  # channels of an image -> planes beside its pixels
    # what the whole image contributes to the input of each of its parts, made of ``compressed`` (uint8, B x C x H x W)
    # and ``reductions`` (uint8, B x 2, by how much rows and columns of chroma are reduced)
    whole_image: Callable[[Tensor, Tensor], Any]
    # the argument of the network for an image or a part of it that starts at whole blocks, made of ``compressed``,
    # ``tables`` (uint8, B x T x 8 x 8) and what ``whole_image`` returned
    network_input: Callable[[Tensor, Tensor, Any], Any]

    @property
    def takes_tables(self) -> bool:
        """Whether quantization maps are part of the input. Images are then padded to whole blocks."""
        return any(self.planes.values())

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this, pixels: of a block, or of 2 for the restoration branch."""
        return BLOCK if self.takes_tables else 2

    def assemble(self, compressed: Tensor, tables: Tensor, reductions: Tensor) -> Any:
        """The input for whole images."""
        return self.network_input(compressed, tables, self.whole_image(compressed, reductions))


def scale(values: Tensor) -> Tensor:
    """Map 0..255 to [-1, 1], bytes to float32: (v / 255 - 0.5) / 0.5."""
    return torch.div(values, 255).sub_(0.5).div_(0.5)  # in place: fresh memory would cost more than the arithmetic


def unscale(values: Tensor) -> Tensor:
    """The inverse of `scale`, unrounded and unclipped: floats on 0..255."""
    return (values * 0.5 + 0.5) * 255


def quantization_map(tables: Tensor, height: int, width: int) -> Tensor:
    """Tile tables (B x T x 8 x 8, any dtype) from the top-left corner over B x T x height x width."""
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    return tables.repeat(1, 1, rows, columns)[..., :height, :width]


def nothing(compressed: Tensor, reductions: Tensor) -> None:
    """What the whole image contributes where each part stands for itself."""


def pixels_alone(compressed: Tensor, tables: Tensor, whole: None) -> Tensor:
    """EDSR and AR-CNN: the pixels, B x C x H x W in [-1, 1]."""
    return scale(compressed)


def with_maps(compressed: Tensor, tables: Tensor, whole: None) -> Tensor:
    """QCN: the pixels, then the quantization maps, B x (C + T) x H x W in [-1, 1] (paper section III-A)."""
    maps = quantization_map(scale(tables), *compressed.shape[2:])
    return torch.cat([scale(compressed), maps], dim=1)


def global_image(compressed: Tensor, reductions: Tensor) -> Tensor:
    """The whole compressed image resized, B x C x 112 x 112 in [-1, 1] (paper section III-C)."""
    return scale(resize_cubic(compressed, GLOBAL_SIZE, GLOBAL_SIZE))


def with_global_image(compressed: Tensor, tables: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """QGCN: the input of QCN for an image or a part of it, and the global image of the whole."""
    return with_maps(compressed, tables, None), whole


def chroma_reduction(compressed: Tensor, reductions: Tensor) -> Tensor | None:
    """Of colour B x 2: 1 where the rows, and the columns, of chroma are reduced, else -1; of gray nothing."""
    return None if compressed.shape[1] == 1 else (reductions > 1).float() * 2 - 1


def with_more_maps(compressed: Tensor, tables: Tensor, whole: Tensor | None) -> Tensor:
    """QCN+ (not in the paper): what else a file says of its own damage, B x (C + 7 or 3) x H x W.

    After the input of QCN come the maps' logarithms: linear maps of steps 1 and 4, between which a file is nearly
    lossless or not, differ by 0.02. Then in colour how chroma was sampled: pixels alone hardly tell 4:2:0, whose chroma
    wants its detail back, from 4:4:4, which never lost it. Last the `strength`, by which the network scales its change
    of the pixels, so that it leaves good files alone. All lie in [-1, 1], the strength in (0, 1].
    """
    size = compressed.shape[2:]
    numbers = [strength(tables, whole)] if whole is None else [whole, strength(tables, whole)]
    planes = torch.cat(numbers, dim=1)[..., None, None].expand(-1, -1, *size)
    logarithms = quantization_map(log_scale(tables), *size)
    return torch.cat([with_maps(compressed, tables, None), logarithms, planes], dim=1)


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


INPUTS = {
    "jpeg": Input({3: 0, 1: 0}, nothing, pixels_alone),
    "jpeg_qm": Input({3: 2, 1: 1}, nothing, with_maps),
    "jpeg_qmg": Input({3: 2, 1: 1}, global_image, with_global_image),
    "jpeg_qm_plus": Input({3: 7, 1: 3}, chroma_reduction, with_more_maps),
}
"""Name on the command line (--dataloader) -> input."""


def get_input(name: str) -> Input:
    """The input called ``name``; raises UserError listing the valid names."""
    return choose(INPUTS, name, "--dataloader")
