"""Quantization tables of JPEG files."""

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, JpegImagePlugin

BLOCK = 8
"""Side of a DCT block, samples (ITU-T T.81, A.3.1)."""

_FREQUENCY = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
LOW, HIGH = _FREQUENCY <= 4, _FREQUENCY >= 8
"""The frequencies, 8 x 8, whose steps decide how strong a table looks, and those whose steps may be of another size."""
LARGEST_STEP = 255  # the largest quantization step that a network's input, one byte a step, has room for


class FileTables(NamedTuple):
    """Tables that files have which are not the standard ones.

    Attributes:
        maker: of the camera, the phone or the encoder, or 'unlabelled'.
        count: how many files had them.
        luma: uint16, 8 x 8 in natural order.
        chroma: likewise, or None for a gray file.
    """

    maker: str
    count: int
    luma: np.ndarray
    chroma: np.ndarray | None


def component_tables(image: JpegImagePlugin.JpegImageFile) -> np.ndarray:
    """The quantization table of each component of an opened JPEG: uint16, components x 8 x 8 in natural order.

    Raises:
        ValueError: if a component names a table that the file does not define before its picture.
    """
    try:
        tables = [image.quantization[table] for _, _, _, table in image.layer]
    except KeyError as error:
        raise ValueError(f"it has no quantization table {error.args[0]}") from None
    return np.array(tables, np.uint16).reshape(-1, BLOCK, BLOCK)


def network_tables(tables: np.ndarray) -> np.ndarray:
    """The tables that a network sees of those of the components (components x 8 x 8): uint8, T x 8 x 8, 1..255.

    T = 1 for a gray file, else 2: luminance and chrominance. Where Cr has a table of its own, for which the network
    has no input, chrominance is the mean of both. Values of 16-bit tables over 255 are taken as 255: the network's
    input, one byte per step size, has no room for them.
    """
    if len(tables) > 2:
        tables = np.stack([tables[0], np.rint((tables[1].astype(float) + tables[2]) / 2)])
    return np.clip(tables, 1, LARGEST_STEP).astype(np.uint8)


def quantization_tables(image: JpegImagePlugin.JpegImageFile) -> np.ndarray:
    """The tables of an opened JPEG as a network sees them (`network_tables` of `component_tables`)."""
    return network_tables(component_tables(image))


def nearest_standard(tables: np.ndarray) -> np.ndarray:
    """The standard tables nearest to a network's (uint8, T x 8 x 8), each by its mean absolute difference."""
    standard = np.stack([standard_tables(quality)[: len(tables)] for quality in range(1, 101)])
    best = np.abs(standard.astype(np.int16) - tables).mean((2, 3)).argmin(0)
    return standard[best, range(len(tables))]


def rise(tables: np.ndarray) -> np.ndarray:
    """By how many octaves the steps of tables (... x 8 x 8) rise from low frequencies to high ones; 0 for flat ones."""
    logarithm = np.log2(tables.astype(float))
    return logarithm[..., HIGH].mean(-1) - logarithm[..., LOW].mean(-1)


@cache
def tables_in_files() -> tuple[FileTables, ...]:
    """Tables read from JPEG files in 100 public repositories and from the sources of encoders, without standard ones.

    Count 0 are those of sources that no file had. Steps over 255 are kept.
    """
    entries = json.loads(Path(__file__).with_name("tables_in_files.json").read_text(encoding="utf-8"))
    for entry in entries:
        for name in ("luma", "chroma"):
            entry[name] = entry[name] and np.array(entry[name], np.uint16).reshape(BLOCK, BLOCK)
    return tuple(FileTables(**entry) for entry in entries)


@cache
def standard_tables(quality: int) -> np.ndarray:
    """The tables that Pillow writes for a quality factor 1..100 (Annex K, scaled, at most 255): uint8, 2 x 8 x 8."""
    stream = BytesIO()
    Image.new("RGB", (BLOCK, BLOCK)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return quantization_tables(image)
