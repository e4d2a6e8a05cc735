"""`jpeg_qmg`: pixels, quantization maps and the global image, as QGCN takes them (paper section III-C)."""

from torch import Tensor

from dataset import jpeg_qm
from dataset.jpeg import scale
from nets.qmarg import GLOBAL_SIZE
from utils.resize import resize_cubic

MAPS = jpeg_qm.MAPS


def whole_image(compressed: Tensor, reductions: Tensor | None = None) -> Tensor:
    """The global image, B x C x 112 x 112 in [-1, 1]: the whole compressed image (uint8, B x C x H x W) resized."""
    return scale(resize_cubic(compressed, GLOBAL_SIZE, GLOBAL_SIZE))


def network_input(compressed: Tensor, tables: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
    """The input of QCN for an image or a part of it, and the global image of the whole."""
    return jpeg_qm.network_input(compressed, tables, None), whole
