"""How a crop becomes a JPEG: as the published program does it, or as the files that people have came about.

`Real` draws what differs between files: quantization tables, the sampling of chroma, the decoder's way of enlarging
chroma, and the range of gray. The shares are those of 7,466 JPEG files of 100 public repositories, of which about half
have the standard tables of ITU-T T.81, Annex K, and a third are 4:4:4. Progressive files are left out: their pixels
are the same.
"""

from typing import NamedTuple, Protocol
from zlib import crc32

import numpy as np
from numpy.random import Generator, Philox

from jpeg.codec import Codec, Compressed, PillowCodec, jpeg_round_trip
from jpeg.color import LUMA
from jpeg.tables import BLOCK, FileTables, network_tables, standard_tables, tables_in_files
from utils.errors import UserError
from utils.image import to_pillow

TABLES = {"standard": 0.5, "files": 0.15, "between": 0.1, "random": 0.25}
"""Family of quantization tables -> share. Half are standard, as in files; the families that are rarer there have more
to teach than their share of files."""
SAMPLING = {"4:2:0": 0.56, "4:4:4": 0.33, "4:2:2": 0.09, "4:4:0": 0.02}
"""Sampling -> share, about that of files in colour."""
SIMPLE_CHROMA = 0.1
"""Share of the files with reduced chroma whose decoder repeats samples instead of interpolating them."""
GOOD, GOOD_FROM = 0.25, 0.8
"""Share of qualities from the upper part of the range alone, and where that begins: most files are good."""
ROUNDED = 0.2
"""Share of standard tables some of whose steps are 1 off: a fifth of the encoders with Annex K round otherwise."""
OTHER_CHROMA, ONE_TABLE, THIRD_TABLE = 0.05, 0.1, 0.02
"""Shares of files whose chroma has another quality, the table of luma, or a table for Cr that Cb has not."""
NO_COLOUR = 0.02
"""Share of crops in colour with R = G = B."""
STUDIO_RANGE = 0.5
"""Share of gray crops that are MATLAB's Y, 16..235, as in the paper; the others are the Y of JPEG files, 0..255."""

FLAT, FALLING = 0.2, 0.2
"""Shares of random tables whose steps are all the same, and whose steps fall or hardly rise with frequency."""

JPEG_Y = (*LUMA.tolist(), 0.0)
"""Weights of R, G and B in the Y of JPEG files, and what is added."""
MATLAB_Y = (*(LUMA * 219 / 255).tolist(), 16.0)
"""Likewise of MATLAB's Y, 16..235 (ITU-R BT.601)."""
LARGEST_STEP = 255
LOW = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)) <= 4
"""The low frequencies, whose steps decide how strong a table looks."""
_ROWS, _COLUMNS = np.mgrid[:BLOCK, :BLOCK] / (BLOCK - 1)
_COSINES = np.cos(np.pi * np.outer(np.arange(4), np.arange(BLOCK) + 0.5) / BLOCK)
_WAVES = np.kron(_COSINES, _COSINES)
"""16 smooth deviations of a table: 16 x 64."""
HELD_OUT_MAKERS = frozenset({"Casio", "Fujifilm", "HP", "Kodak", "Minolta"})
"""Makers whose tables nothing is trained on, to tell whether the kind was learnt or the list."""


class Degraded(NamedTuple):
    """A sample: all uint8, size x size x C, but ``tables``, T x 8 x 8 as a network sees them."""

    pixels: np.ndarray
    tables: np.ndarray
    ground_truth: np.ndarray


class Degradation(Protocol):
    """What degradations offer.

    Attributes:
        source: colour mode of the images that crops are taken from, 'RGB' or 'L'.
    """

    source: str

    def __call__(self, crop: np.ndarray, draw: int, bits: Philox) -> Degraded:
        """Degrade a crop (uint8, size x size x C).

        Args:
            draw: a random integer of 64 bits, the sample's own.
            bits: where to take more from.
        """


class Published:
    """JPEG at a quality factor drawn uniformly, with the codec's own tables at 4:2:0 (paper section IV-A).

    Args:
        qualities: lowest and highest quality factor, both included.
        mode: 'RGB' or 'L'.
    """

    def __init__(self, qualities: tuple[int, int], mode: str, codec: Codec):
        self.qualities, self.source, self.codec = qualities, mode, codec

    def __call__(self, crop: np.ndarray, draw: int, bits: Philox) -> Degraded:
        """The crop at one of the qualities; ``bits`` are not used."""
        lowest, highest = self.qualities
        compressed = self.codec.compress(crop, lowest + draw % (highest - lowest + 1))
        return Degraded(*compressed, crop)


class Real:
    """JPEG as files have it: `draw_tables`, `draw_sampling`, and in gray `to_gray`.

    Args:
        qualities: lowest and highest quality factor of standard tables; other tables are as strong.
        mode: 'RGB' or 'L', what the network restores.
        families: shares of the families of tables (TABLES).
        sampling: shares of the samplings (SAMPLING).
    """

    source = "RGB"

    def __init__(
        self,
        qualities: tuple[int, int],
        mode: str,
        *,
        families: dict[str, float] = TABLES,
        sampling: dict[str, float] = SAMPLING,
    ):
        self.qualities, self.mode, self.families, self.sampling = qualities, mode, families, sampling

    def __call__(self, crop: np.ndarray, draw: int, bits: Philox) -> Degraded:
        """The crop as a file of its own has it; in gray, and now and then in colour, the crop is its luma."""
        random = Generator(bits)
        tables = draw_tables(random, draw_quality(random, self.qualities), self.families)
        if self.mode == "L":
            crop = to_gray(random, crop)
            tables = tables[:1]
        elif random.random() < NO_COLOUR:
            crop = np.repeat(luma(crop), 3, axis=2)
        sampling = choose(random, self.sampling)
        simple = random.random() < SIMPLE_CHROMA
        pixels = jpeg_round_trip(crop, tables, sampling, simple_chroma=simple)
        return Degraded(pixels, network_tables(tables), crop)


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
        return Compressed(jpeg_round_trip(pixels, tables, choose(random, SAMPLING)), network_tables(tables))


DEGRADATIONS = ("published", "real")


def check_degradation(name: str, option: str = "--degradation") -> str:
    """``name`` itself if it is one of DEGRADATIONS; raises UserError otherwise."""
    if name not in DEGRADATIONS:
        raise UserError(f"the degradation {name!r} is unknown: choose {option} from {', '.join(DEGRADATIONS)}")
    return name


def build_degradation(name: str, *, qualities: tuple[int, int], mode: str, codec: Codec) -> Degradation:
    """The degradation called ``name``; raises UserError for another name, or a codec that it does not take."""
    if check_degradation(name) == "published":
        return Published(qualities, mode, codec)
    if not isinstance(codec, PillowCodec):
        raise UserError("--degradation real compresses by Pillow's libjpeg: leave --codec out")
    return Real(qualities, mode)


def choose(random: Generator, shares: dict[str, float]) -> str:
    """One of the keys, drawn by their shares, which need not add up to 1."""
    place = random.random() * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return name


def draw_quality(random: Generator, qualities: tuple[int, int]) -> int:
    """A quality factor of the range, more often a good one (GOOD)."""
    lowest, highest = qualities
    if random.random() < GOOD:
        lowest = round(lowest + GOOD_FROM * (highest - lowest))
    return int(random.integers(lowest, highest + 1))


# ------------------------------------------------------------------------------------- quantization tables


def draw_tables(random: Generator, quality: int, families: dict[str, float] = TABLES) -> np.ndarray:
    """Tables of one of the families, about as strong as the standard ones of a quality: uint8, 2 or 3 x 8 x 8."""
    tables = FAMILIES[choose(random, families)](random, quality)
    if random.random() < ONE_TABLE:
        tables[1] = tables[0]
    if random.random() < THIRD_TABLE:
        third = tables[1] * 2.0 ** random.uniform(-1, 1)
        tables = np.concatenate([tables, third[None]])
    return np.clip(np.rint(tables), 1, LARGEST_STEP).astype(np.uint8)


def standard(random: Generator, quality: int) -> np.ndarray:
    """Annex K scaled to a quality, now and then rounded otherwise or with another quality for chroma."""
    tables = standard_tables(quality).astype(float)
    if random.random() < OTHER_CHROMA:
        tables[1] = standard_tables(int(random.integers(quality, 101)))[1]
    if random.random() < ROUNDED:
        tables += np.rint(random.random(tables.shape) * 1.4 - 0.7)  # 1 off in either direction for 2 of 7 steps
    return tables


def files(random: Generator, quality: int) -> np.ndarray:
    """Tables that a file has, as they are or scaled to the strength of a quality."""
    tables = _of_a_file(random)
    return tables if random.random() < 0.5 else 2.0 ** _as_strong(random, np.log2(tables), quality)


def between(random: Generator, quality: int) -> np.ndarray:
    """The geometric mean, with random weights, of the tables of two files."""
    weight = random.random()
    logarithm = weight * np.log2(_of_a_file(random)) + (1 - weight) * np.log2(_of_a_file(random))
    return 2.0 ** _as_strong(random, logarithm, quality)


def smooth(random: Generator, quality: int) -> np.ndarray:
    """Random tables, from flat to steep; chroma has the same shape or one of its own, 0.7 to 3 times as coarse."""
    luma_steps = _as_strong(random, _smooth_shape(random)[None], quality)[0]
    chroma = luma_steps
    if random.random() < 0.5:
        shape = _smooth_shape(random)
        chroma = shape + (luma_steps - shape)[LOW].mean()
    return 2.0 ** np.stack([luma_steps, chroma + random.uniform(-0.5, 1.6)])


FAMILIES = {"standard": standard, "files": files, "between": between, "random": smooth}
"""Family of tables -> its function of a generator and a quality: float64, 2 x 8 x 8, not rounded."""


def _of_a_file(random: Generator) -> np.ndarray:
    """The tables of one of `tables_in_files`, the commoner the more often: float64, 2 x 8 x 8, at least 1."""
    known, cumulative = _training_tables()
    return known[int(np.searchsorted(cumulative, random.random()))].copy()


def _training_tables(cache: list = []) -> tuple[np.ndarray, np.ndarray]:  # noqa: B006
    if not cache:
        entries = [entry for entry in tables_in_files() if entry.maker not in HELD_OUT_MAKERS]
        weights = np.sqrt([max(entry.count, 1) for entry in entries])
        cache += [np.stack([_pair(entry) for entry in entries]), np.cumsum(weights / weights.sum())]
    return cache[0], cache[1]


def _pair(entry: FileTables) -> np.ndarray:
    return np.maximum(np.stack([entry.luma, entry.luma if entry.chroma is None else entry.chroma]), 1.0)


def _as_strong(random: Generator, logarithm: np.ndarray, quality: int) -> np.ndarray:
    """Logarithms of tables, shifted to the mean of the standard ones of a quality at low frequencies, roughly."""
    wanted = np.log2(standard_tables(quality)[0][LOW]).mean()
    return logarithm + (wanted - logarithm[0][LOW].mean() + random.normal(0, 0.3))


def _smooth_shape(random: Generator) -> np.ndarray:
    """The logarithm of a table that rises with frequency, more or less, with a smooth deviation and noise: 8 x 8."""
    kind, slope, power, level, capped, noisy = random.random(6)
    if kind < FLAT:
        return np.zeros((BLOCK, BLOCK))
    octaves = 3 * slope - 2 if kind < FLAT + FALLING else 4.5 * slope + 0.5  # from DC to the far corner
    tilt, at_dc, *waves = random.standard_normal(2 + len(_WAVES))
    radius = np.hypot(_ROWS * (1 + 0.15 * tilt), _COLUMNS * (1 - 0.15 * tilt)) / np.sqrt(2)
    shape = octaves * radius ** (0.5 + 1.5 * power) + (0.12 * np.array(waves) @ _WAVES).reshape(BLOCK, BLOCK)
    shape[0, 0] += 0.4 * at_dc
    if capped < 0.2:  # steps that stop growing
        shape = np.minimum(shape, (0.5 + 0.5 * level) * shape.max())
    if noisy < 0.3:
        shape += 0.15 * random.standard_normal(shape.shape)
    return shape


# --------------------------------------------------------------------------------------------- gray


def luma(crop: np.ndarray) -> np.ndarray:
    """Y of JPEG files (ITU-T T.871, section 7), 0..255, of R, G and B: uint8, H x W x 1."""
    return _weighted(crop, JPEG_Y)


def to_gray(random: Generator, crop: np.ndarray) -> np.ndarray:
    """R, G and B (uint8, H x W x 3) as MATLAB's Y, as the paper has it, or as the Y of JPEG files: H x W x 1."""
    return _weighted(crop, MATLAB_Y if random.random() < STUDIO_RANGE else JPEG_Y)


def _weighted(crop: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """The rounded sum of R, G and B by weights, plus a last number: uint8, H x W x 1."""
    return np.array(to_pillow(crop).convert("L", weights))[..., None]
