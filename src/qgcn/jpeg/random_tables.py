"""Quantization tables at random, of the kinds that files have: standard ones, those of files, and what lies between."""

from functools import cache

import numpy as np
from numpy.random import Generator

from qgcn.jpeg.tables import BLOCK, LARGEST_STEP, LOW, standard_tables, tables_in_files

TABLES = {"standard": 0.5, "files": 0.15, "between": 0.1, "random": 0.25}
"""Family of tables -> share. Half are standard, as in files; the families that are rarer there have more to teach than
their share of files."""
ROUNDED = 0.2
"""Share of standard tables some of whose steps are 1 off: a fifth of the encoders with Annex K round otherwise."""
OTHER_CHROMA, ONE_TABLE, THIRD_TABLE = 0.05, 0.1, 0.02
"""Shares of samples whose chroma has another quality, the table of luma, or a table for Cr that Cb has not."""
FLAT, FALLING = 0.2, 0.2
"""Shares of random tables whose steps are all the same, and whose steps fall or hardly rise with frequency."""
HELD_OUT_MAKERS = frozenset({"Casio", "Fujifilm", "HP", "Kodak", "Minolta"})
"""Makers whose tables nothing is trained on, to tell whether the kind was learnt or the list."""

_MEAN_OF_LOW = LOW.ravel() / LOW.sum()
_ROWS, _COLUMNS = np.mgrid[:BLOCK, :BLOCK] / (BLOCK - 1)
_COSINES = np.cos(np.pi * np.outer(np.arange(4), np.arange(BLOCK) + 0.5) / BLOCK)
_WAVES = np.kron(_COSINES, _COSINES)  # 16 smooth deviations of a table: 16 x 64


def choose(random: Generator, shares: dict[str, float]) -> str:
    """One of the keys, drawn by their shares, which need not add up to 1."""
    place = random.random() * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return name


def draw_tables(random: Generator, quality: int, families: dict[str, float] = TABLES) -> np.ndarray:
    """Tables of one of the families, about as strong as the standard ones of a quality: uint8, 2 or 3 x 8 x 8."""
    tables = FAMILIES[choose(random, families)](random, quality)
    if random.random() < ONE_TABLE:
        tables[1] = tables[0]
    if random.random() < THIRD_TABLE:
        tables = np.concatenate([tables, tables[1:2] * 2.0 ** random.uniform(-1, 1)])
    return np.rint(tables).clip(1, LARGEST_STEP).astype(np.uint8)


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
    logarithm = _of_a_file(random)
    return 2.0 ** (logarithm if random.random() < 0.5 else _as_strong(random, logarithm, quality))


def between(random: Generator, quality: int) -> np.ndarray:
    """The geometric mean, with random weights, of the tables of two files."""
    weight = random.random()
    logarithm = weight * _of_a_file(random) + (1 - weight) * _of_a_file(random)
    return 2.0 ** _as_strong(random, logarithm, quality)


def smooth(random: Generator, quality: int) -> np.ndarray:
    """Random tables, from flat to steep; chroma has the same shape or one of its own, 0.7 to 3 times as coarse."""
    luma = chroma = _as_strong(random, _smooth_shape(random)[None], quality)[0]
    if random.random() < 0.5:
        shape = _smooth_shape(random)
        chroma = shape + (_strength(luma) - _strength(shape))
    return 2.0 ** np.stack([luma, chroma + random.uniform(-0.5, 1.6)])


FAMILIES = {"standard": standard, "files": files, "between": between, "random": smooth}
"""Family of tables -> its function of a generator and a quality: float64, 2 x 8 x 8, not rounded."""


def _of_a_file(random: Generator) -> np.ndarray:
    """The logarithm (base 2) of the tables of one of `tables_in_files`, the commoner the more often: 2 x 8 x 8."""
    known, cumulative = _training_tables()
    return known[cumulative.searchsorted(random.random())]


@cache
def _training_tables() -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the tables to train on, N x 2 x 8 x 8, and their cumulative shares."""
    entries = [entry for entry in tables_in_files() if entry.maker not in HELD_OUT_MAKERS]
    pairs = np.stack([(entry.luma, entry.luma if entry.chroma is None else entry.chroma) for entry in entries])
    weights = np.sqrt([max(entry.count, 1) for entry in entries])
    return np.log2(pairs.astype(float)), np.cumsum(weights / weights.sum())


def _strength(logarithm: np.ndarray) -> float:
    """The mean of the logarithm of a table (8 x 8) at low frequencies."""
    return float(logarithm.ravel() @ _MEAN_OF_LOW)


@cache
def _standard_strength(quality: int) -> float:
    return _strength(np.log2(standard_tables(quality)[0].astype(float)))


def _as_strong(random: Generator, logarithm: np.ndarray, quality: int) -> np.ndarray:
    """Logarithms of tables, shifted to the strength of the standard ones of a quality, roughly."""
    return logarithm + (_standard_strength(quality) - _strength(logarithm[0]) + random.normal(0, 0.3))


def _smooth_shape(random: Generator) -> np.ndarray:
    """The logarithm of a table that rises with frequency, more or less, with a smooth deviation and noise: 8 x 8."""
    kind, slope, power, level, capped, noisy = random.random(6).tolist()
    if kind < FLAT:
        return np.zeros((BLOCK, BLOCK))
    octaves = 3 * slope - 2 if kind < FLAT + FALLING else 4.5 * slope + 0.5  # from DC to the far corner
    normal = random.standard_normal(2 + len(_WAVES))
    tilt, at_dc = normal[:2].tolist()
    radius = np.hypot(_ROWS * (1 + 0.15 * tilt), _COLUMNS * (1 - 0.15 * tilt)) / 2**0.5
    shape = octaves * radius ** (0.5 + 1.5 * power) + (0.12 * normal[2:] @ _WAVES).reshape(BLOCK, BLOCK)
    shape[0, 0] += 0.4 * at_dc
    if capped < 0.2:  # steps that stop growing
        shape = np.minimum(shape, (0.5 + 0.5 * level) * shape.max())
    if noisy < 0.3:
        shape += 0.15 * random.standard_normal(shape.shape)
    return shape
