"""Quantization tables of JPEG files."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, JpegImagePlugin

BLOCK = 8
"""Side of a DCT block, samples (ITU-T T.81, A.3.1)."""


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

    T = 1 for a gray file, else 2: luminance and chrominance, which are the first and the second component's. Where a
    third component has a table of its own, the network has no input for it. Values of 16-bit tables over 255 are
    taken as 255: the network's input, one byte per step size, has no room for them.
    """
    return np.clip(tables[:2] if len(tables) > 1 else tables, 1, 255).astype(np.uint8)


def quantization_tables(image: JpegImagePlugin.JpegImageFile) -> np.ndarray:
    """The tables of an opened JPEG as a network sees them (`network_tables` of `component_tables`)."""
    return network_tables(component_tables(image))


@cache
def standard_tables(quality: int) -> np.ndarray:
    """The tables that Pillow writes for a quality factor 1..100 (Annex K, scaled, at most 255): uint8, 2 x 8 x 8."""
    stream = BytesIO()
    Image.new("RGB", (BLOCK, BLOCK)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return quantization_tables(image)
