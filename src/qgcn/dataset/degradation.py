"""How a crop becomes a JPEG: as the published program does it, or as the files that people have came about.

`Real` draws what differs between files: quantization tables, the sampling of chroma, the decoder's way of enlarging
chroma, the range of gray, and whether it is a photograph at all. Tables and samplings have about the shares of 7,466
JPEG files of 100 public repositories: half have the standard tables of ITU-T T.81, Annex K, and a third are 4:4:4. What
is rare there and has more to teach is drawn more often. Progressive files are left out: their pixels are the same.
"""

from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
from numpy.random import Generator, Philox

from qgcn.dataset.pages import written
from qgcn.jpeg.codec import SUBSAMPLING, Codec, Compressed, PillowCodec, get_codec, jpeg_round_trip
from qgcn.jpeg.color import LUMA
from qgcn.jpeg.random_tables import choose, draw_tables
from qgcn.jpeg.tables import network_tables
from qgcn.utils.errors import UserError, check_choice
from qgcn.utils.image import to_pillow

SAMPLING = {"4:2:0": 0.56, "4:4:4": 0.33, "4:2:2": 0.09, "4:4:0": 0.02}
"""Sampling -> share, about that of files in colour."""
SIMPLE_CHROMA = 0.1
"""Share of the files with reduced chroma whose decoder repeats samples instead of interpolating them."""
GOOD, GOOD_FROM = 0.25, 0.8
"""Share of qualities from the upper part of the range alone, and where that begins: most files are good."""
NO_COLOUR = 0.02
"""Share of crops in colour with R = G = B."""
WRITTEN = 0.04
"""Share of crops that are a piece of a written page instead (dataset.pages)."""
STUDIO_RANGE = 0.5
"""Share of gray crops that are MATLAB's Y, 16..235, as in the paper; the others are the Y of JPEG files, 0..255."""

JPEG_Y = (*LUMA.tolist(), 0.0)
"""Weights of R, G and B in the Y of JPEG files, and what is added."""
MATLAB_Y = (*(LUMA * 219 / 255).tolist(), 16.0)
"""Likewise of MATLAB's Y, 16..235 (ITU-R BT.601)."""


class Degraded(NamedTuple):
    """A sample, uint8."""

    pixels: np.ndarray  # size x size x C, decoded
    tables: np.ndarray  # T x 8 x 8, as a network sees them
    reduction: np.ndarray  # 2, by how much rows and columns of chroma are reduced
    ground_truth: np.ndarray  # size x size x C


class Degradation(Protocol):
    """What degradations offer."""

    source: str  # colour mode of the images that crops are taken from, 'RGB' or 'L'

    def draw(self, crop: np.ndarray, number: int, bits: Philox) -> tuple:
        """All that is random about a sample of a crop (uint8, size x size x C): the arguments of `compress`.

        Args:
            number: a random integer of 64 bits, the sample's own.
            bits: where to take more from.
        """

    def compress(self, crop: np.ndarray, *how) -> Degraded:
        """The sample."""


class Published:
    """JPEG at a quality factor drawn uniformly, with the codec's own tables at 4:2:0 (paper section IV-A).

    Args:
        qualities: lowest and highest quality factor, both included.
        mode: 'RGB' or 'L'.
    """

    def __init__(self, qualities: tuple[int, int], mode: str, codec: Codec):
        self.qualities, self.source, self.codec = qualities, mode, codec

    def draw(self, crop: np.ndarray, number: int, bits: Philox) -> tuple[np.ndarray, int]:
        """The crop and one of the qualities; ``bits`` are not used."""
        lowest, highest = self.qualities
        return crop, lowest + number % (highest - lowest + 1)

    def compress(self, crop: np.ndarray, quality: int) -> Degraded:
        """The crop at a quality."""
        compressed = self.codec.compress(crop, quality)
        return Degraded(compressed.pixels, compressed.tables, np.array(compressed.reduction, np.uint8), crop)


class Real:
    """JPEG as files have it: tables (jpeg.random_tables), sampling, the way chroma is enlarged, and the range of gray.

    Args:
        qualities: lowest and highest quality factor of standard tables; other tables are as strong.
        mode: 'RGB' or 'L', what the network restores.
        codec: Pillow's, the only one that takes other tables.
    """

    source = "RGB"

    def __init__(self, qualities: tuple[int, int], mode: str, codec: Codec | None = None):
        if not isinstance(codec, PillowCodec | None):
            raise UserError(f"--degradation real compresses by Pillow's libjpeg, not {codec.name}: leave --codec out")
        self.qualities, self.mode = qualities, mode

    def draw(self, crop: np.ndarray, number: int, bits: Philox) -> tuple[np.ndarray, np.ndarray, str, bool]:
        """The crop, or a written page, in gray and now and then in colour its luma; tables; sampling; simple chroma."""
        random = Generator(bits)
        tables = draw_tables(random, draw_quality(random, self.qualities))
        if random.random() < WRITTEN:
            crop = written(random, crop, self.mode)
        if self.mode == "L":
            crop = to_gray(random, crop)
            tables = tables[:1]
        elif random.random() < NO_COLOUR:
            crop = np.repeat(luma(crop), 3, axis=2)
        return crop, tables, choose(random, SAMPLING), random.random() < SIMPLE_CHROMA

    def compress(self, crop: np.ndarray, tables: np.ndarray, sampling: str, simple_chroma: bool) -> Degraded:
        """The crop as a file of its own has it."""
        pixels = jpeg_round_trip(crop, tables, sampling, simple_chroma=simple_chroma)
        return Degraded(pixels, network_tables(tables), np.array(SUBSAMPLING[sampling], np.uint8), crop)


class FamilyCodec:
    """A family of tables as a codec, for validation: each picture always has the same tables and sampling.

    Args:
        family: a key of FAMILIES.
        qualities: lowest and highest, as in `Real`.
    """

    def __init__(self, family: str, qualities: tuple[int, int]):
        self.name, self.qualities = family, qualities

    def compress(self, pixels: np.ndarray, quality: int) -> Compressed:
        """Compress pixels (uint8, H x W x C) at a quality of the range; the ``quality`` asked for is not used."""
        random = np.random.default_rng(crc32(np.ascontiguousarray(pixels)))
        tables = draw_tables(random, draw_quality(random, self.qualities), {self.name: 1.0})
        tables = tables[: 1 if pixels.shape[2] == 1 else None]
        sampling = choose(random, SAMPLING)
        decoded = jpeg_round_trip(pixels, tables, sampling)
        return Compressed(decoded, network_tables(tables), SUBSAMPLING[sampling])


DEGRADATIONS = {"published": Published, "real": Real}


def check_degradation(name: str, option: str = "--degradation") -> str:
    """``name`` itself if it is one of DEGRADATIONS; raises UserError otherwise."""
    return check_choice(name, DEGRADATIONS, option)


def build_degradation(name: str, qualities: tuple[int, int], mode: str, codec: str) -> Degradation:
    """The degradation called ``name``; raises UserError for another name, or a codec's that it does not take."""
    return DEGRADATIONS[check_degradation(name)](qualities, mode, get_codec(codec))


def draw_quality(random: Generator, qualities: tuple[int, int]) -> int:
    """A quality factor of the range, more often a good one (GOOD)."""
    lowest, highest = qualities
    if random.random() < GOOD:
        lowest = round(lowest + GOOD_FROM * (highest - lowest))
    return int(random.integers(lowest, highest + 1))


def luma(crop: np.ndarray, weights: tuple[float, ...] = JPEG_Y) -> np.ndarray:
    """Y of JPEG files (ITU-T T.871, section 7), 0..255, or by MATLAB_Y, of R, G and B: rounded to uint8, H x W x 1."""
    return np.array(to_pillow(crop).convert("L", weights))[..., None]


def to_gray(random: Generator, crop: np.ndarray) -> np.ndarray:
    """R, G and B (uint8, H x W x 3) as MATLAB's Y, as the paper has it, or as the Y of JPEG files: H x W x 1."""
    return luma(crop, MATLAB_Y if random.random() < STUDIO_RANGE else JPEG_Y)
