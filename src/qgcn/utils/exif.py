"""The orientation that EXIF asks for."""

import struct

import numpy as np

_TAG = 0x0112
_INTEGERS = {3: "H", 4: "I"}
"""EXIF's SHORT, in which the orientation should be, and LONG, in which some programs write it."""


def upright(exif: bytes) -> tuple[int, bytes]:
    """The orientation 1..8 that an EXIF block asks for, and the block with orientation 1 in its place.

    The value alone is changed: a block written anew would lose what cameras keep at fixed places (maker notes). A
    block that makes no sense asks for nothing and is left as it is.
    """
    start = 6 if exif[:6] == b"Exif\0\0" else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None:
        return 1, exif
    try:
        (directory,) = struct.unpack_from(order + "I", exif, start + 4)
        (count,) = struct.unpack_from(order + "H", exif, start + directory)
        for entry in range(count):
            place = start + directory + 2 + 12 * entry
            tag, kind, values = struct.unpack_from(order + "HHI", exif, place)
            if tag == _TAG and kind in _INTEGERS and values == 1:
                value = struct.Struct(order + _INTEGERS[kind])
                (orientation,) = value.unpack_from(exif, place + 8)
                if not 2 <= orientation <= 8:
                    return 1, exif
                return orientation, exif[: place + 8] + value.pack(1) + exif[place + 8 + value.size :]
    except struct.error:
        pass
    return 1, exif


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels H x W (x C) as they are to be shown for an EXIF orientation 1..8 (EXIF 2.32, 4.6.4 A)."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]
