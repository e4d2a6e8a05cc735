"""The quantization tables of a picture that was a JPEG once, and its grid of blocks, from its pixels alone.

A decoder multiplies quantized coefficients by the steps of the table, so the coefficients of decoded pixels, taken on
the file's own grid, lie close to multiples of these steps and on none of the other 63 grids (Fan and de Queiroz, IEEE
Trans. Image Process. 2003). Known are the tables of Annex K of ITU-T T.81, scaled to the qualities 1 to 100 as libjpeg
does, and the same on their side, as in pictures that were turned. Programs with tables of their own are not recognised.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from qgcn.jpeg.color import LUMA
from qgcn.jpeg.dct import BASIS, LEVEL_SHIFT
from qgcn.jpeg.tables import BLOCK, standard_tables

QUALITIES = range(1, 101)

PATCHES = 6144  # at most so many places of a picture are looked at: all of one of 768 x 512

NOISE = 0.4
"""Standard deviation of coefficients about their multiples, for rounding to 8 bits: of Y, and again of R, G and B."""
STRAY = 0.1  # the share of coefficients that is taken to lie anywhere, such as those of pictures that were retouched
LEAST = 1.5  # smaller coefficients say nothing: most are zeros, which are multiples of any step
EVIDENCE = 40.0  # an estimate is certain if it is e to this power as likely as no compression, and as any other grid
SHARE = 0.05  # and if this much of it, at least, comes from each coefficient on average

_BINS_A_LEVEL = 4
_LARGEST = 256
_SIDE = 2 * BLOCK - 1  # side of a patch, which holds one block of each of the 64 grids


class Estimate(NamedTuple):
    """What compressed a picture.

    Attributes:
        quality: factor 1..100.
        turned: whether rows and columns have changed places since.
        offset: row and column, 0..7, of the first block that is not cut off.
        tables: uint8, 2 x 8 x 8, luminance and chrominance.
    """

    quality: int
    turned: bool
    offset: tuple[int, int]
    tables: np.ndarray


def estimate(pixels: np.ndarray) -> Estimate:
    """Estimate what compressed a picture. Blocks with values of 0 or 255, which may have been cut off, don't count.

    Args:
        pixels: uint8, H x W x C, C = 1 gray, 3 RGB.

    Raises:
        ValueError: if that is not certain: for pictures that were never compressed or hardly (quality 100), with
            other tables, resized or repainted since, very small, flat, or black on white throughout.
    """
    likelihood, count = score(pixels)
    row, column, turned, index = map(int, np.unravel_index(likelihood.argmax(), likelihood.shape))
    grids = likelihood.max((2, 3))
    best, grids[row, column] = grids[row, column], 0  # in its place no compression, so that the next best is left
    if best - grids.max() >= EVIDENCE and best >= SHARE * count[row, column]:
        tables = standard_tables(QUALITIES[index])
        return Estimate(QUALITIES[index], bool(turned), (row, column), tables.swapaxes(1, 2) if turned else tables)
    raise ValueError(
        "its pixels don't show for certain with which standard tables it was compressed, if it ever was: --estimate "
        "can't help, give --quality Q if you know it"
    )


def score(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How well each hypothesis explains a picture (uint8, H x W x C).

    Up to PATCHES places, spread over the picture, are looked at, so time and memory don't grow with it.

    Returns:
        The logarithm of the ratio to the likelihood of no compression, float64, 8 x 8 x 2 x 100, for grid (row,
        column), not turned or turned, and quality; and the coefficients of each grid that were looked at, 8 x 8.
    """
    places = _places(pixels)
    patches = (places @ LUMA if places.shape[3] == 3 else places[..., 0].astype(np.float32)) - LEVEL_SHIFT
    cut = ((places == 0) | (places == 255)).any(3)
    likelihood = np.empty((BLOCK, BLOCK, 2, len(QUALITIES)))
    count = np.empty((BLOCK, BLOCK), int)
    evidence = _evidence()
    frequency = np.arange(BLOCK * BLOCK, dtype=np.int32)
    steps = np.stack([standard_tables(quality)[0] for quality in QUALITIES])
    steps = np.stack([steps, steps.swapaxes(1, 2)]).reshape(2, len(QUALITIES), -1)
    for row in range(BLOCK):
        lines = BASIS @ patches[:, row : row + BLOCK]
        counts = np.empty((BLOCK, frequency.size, len(evidence)), np.float32)
        for column in range(BLOCK):
            found = np.abs(lines[..., column : column + BLOCK] @ BASIS.T).reshape(-1, frequency.size)
            found[cut[:, row : row + BLOCK, column : column + BLOCK].any((1, 2))] = 0
            found[:, 0] = 0  # flat blocks, compressed or not, have DC coefficients that are multiples of 8
            bins = np.minimum(found * _BINS_A_LEVEL + 0.5, len(evidence) - 1).astype(np.int32)
            bins += frequency * len(evidence)
            counts[column] = np.bincount(bins.ravel(), minlength=counts[0].size).reshape(counts[0].shape)
        by_step = counts.reshape(-1, len(evidence)) @ evidence
        likelihood[row] = by_step.reshape(BLOCK, frequency.size, -1)[:, frequency, steps].sum(-1)
        count[row] = counts[..., int(LEAST * _BINS_A_LEVEL) + 1 : -1].sum((1, 2))
    return likelihood, count


def _places(pixels: np.ndarray) -> np.ndarray:
    """Places spread over a picture: uint8, N x 15 x 15 x C, N up to PATCHES."""
    height, width = (max((side + 1) // BLOCK - 1, 0) for side in pixels.shape[:2])
    number = min(height * width, PATCHES)
    chosen = np.linspace(0, height * width - 1, number).astype(int)
    rows, columns = (BLOCK * index[:, None, None] for index in np.divmod(chosen, max(width, 1)))
    within = np.arange(_SIDE)
    return pixels[rows + within[:, None], columns + within]


@cache
def _evidence() -> np.ndarray:
    """What a coefficient's absolute value says for each step: float32, bins x 256.

    The logarithm of Q p(r): of the density of its distance r to a multiple of the step Q, normal but for strays, to
    that of a distance that may be any. Zero for step 0, which there is not, and for bins that say nothing.
    """
    value = np.arange(_LARGEST * _BINS_A_LEVEL + 1)[:, None] / _BINS_A_LEVEL
    step = np.arange(1, 256)
    distance = value - step * np.rint(value / step)
    density = sum(np.exp(-(((distance + turn * step) / NOISE) ** 2) / 2) for turn in range(-3, 4))
    density *= step / (NOISE * np.sqrt(2 * np.pi))
    evidence = np.log((1 - STRAY) * density + STRAY)
    evidence[value[:, 0] <= LEAST] = evidence[-1] = 0  # the last one is whatever is larger
    evidence[:, 0] = 0  # with a step of 1 any value is a multiple
    return np.pad(evidence, ((0, 0), (1, 0))).astype(np.float32)
