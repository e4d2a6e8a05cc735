"""The DCT of JPEG (ITU-T T.81, A.3.3), which is the orthonormal DCT-II of 8 x 8 blocks."""

import numpy as np

from qgcn.jpeg.tables import BLOCK

LEVEL_SHIFT = 128  # what encoders take off samples of 0..255 before the DCT (ITU-T T.81, A.3.1)


_FREQUENCY, _PLACE = np.mgrid[:BLOCK, :BLOCK]
_COSINES = np.cos((2 * _PLACE + 1) * _FREQUENCY * np.pi / (2 * BLOCK))
BASIS = (_COSINES * np.sqrt(np.where(_FREQUENCY, 2, 1) / BLOCK)).astype(np.float32)
"""The DCT-II of 8 samples: float32, 8 x 8, frequencies in rows."""
_BASIS_2D = np.kron(BASIS, BASIS)


def dct(blocks: np.ndarray) -> np.ndarray:
    """Coefficients of blocks of samples, float32, ... x 8 x 8 both: vertical frequency first."""
    return (blocks.reshape(-1, BLOCK * BLOCK) @ _BASIS_2D.T).reshape(blocks.shape)


def inverse_dct(coefficients: np.ndarray) -> np.ndarray:
    """The inverse of `dct`."""
    return (coefficients.reshape(-1, BLOCK * BLOCK) @ _BASIS_2D).reshape(coefficients.shape)


def to_blocks(plane: np.ndarray) -> np.ndarray:
    """A plane of whole blocks, 8 R x 8 C, as R x C x 8 x 8."""
    height, width = plane.shape
    return plane.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).swapaxes(1, 2)


def to_plane(blocks: np.ndarray) -> np.ndarray:
    """The inverse of `to_blocks`."""
    rows, columns = blocks.shape[:2]
    return blocks.swapaxes(1, 2).reshape(rows * BLOCK, columns * BLOCK)
