"""`jpeg_qmg`: pixels, quantization maps and the global image, as QGCN takes them (paper section III-C)."""

from torch import Tensor

from dataset import jpeg_qm
from dataset.jpeg import scale
from nets.qmarg import GLOBAL_SIZE
from utils.resize import resize_cubic

TABLES = True


def network_input(compressed: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """The input of QCN and the global image, B x C x 112 x 112: the compressed pixels resized, both in [-1, 1]."""
    global_image = resize_cubic(scale(compressed), GLOBAL_SIZE, GLOBAL_SIZE)
    return jpeg_qm.network_input(compressed, tables), global_image
