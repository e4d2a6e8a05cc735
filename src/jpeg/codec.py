"""Compression to JPEG and back: the codecs by name."""

import os
import tempfile
from io import BytesIO
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, features

from jpeg.library import libjpeg, require_jpeglib
from jpeg.tables import standard_tables
from utils.errors import UserError
from utils.image import to_pillow


class Compressed(NamedTuple):
    """A decoded JPEG.

    Attributes:
        pixels: uint8, H x W x C, C = 3 (RGB) or 1 (gray).
        tables: uint8, T x 8 x 8 in natural order: luminance and, in colour, chrominance.
    """

    pixels: np.ndarray
    tables: np.ndarray


class Codec(Protocol):
    """What codecs offer.

    Attributes:
        name: the library and its version, for tables of results.
    """

    name: str

    def compress(self, pixels: np.ndarray, quality: int) -> Compressed:
        """Compress pixels (uint8, H x W x C) at a quality factor 1..100 and decode the stream again."""


class PillowCodec:
    """JPEG as Pillow writes it by default: baseline, 4:2:0, Annex K tables scaled to the quality factor."""

    @property
    def name(self) -> str:
        """The codec and its version, for tables of results."""
        library = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
        version = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
        return f"{library} {version} (Pillow)"

    def compress(self, pixels: np.ndarray, quality: int) -> Compressed:
        """Compress pixels (uint8, H x W x C) at a quality factor 1..100 and decode the stream again."""
        stream = BytesIO()
        image = to_pillow(pixels)
        image.save(stream, "JPEG", quality=quality)
        # The stream is Pillow's own: nothing in it has to be looked up before it is decoded.
        decoded = Image.frombytes(image.mode, image.size, stream.getvalue(), "jpeg", image.mode, "")
        return Compressed(np.asarray(decoded).reshape(pixels.shape), _written_tables(quality, pixels.shape[2]))


class Ijg9Codec:
    """JPEG as IJG libjpeg 9 writes and reads it, through the package jpeglib: what the paper's images went through.

    libjpeg 9 upsamples chroma in the DCT domain, so its colour decodings differ from libjpeg-turbo's; the results
    equal those of Pillow up to 8.4. Quality factors mean Pillow's tables, clipped to 255.

    Threads wait for each other (jpeg.library.libjpeg): to be faster, use processes.
    """

    VERSION = "9d"

    def __init__(self):
        version = require_jpeglib("--codec ijg9").__version__
        self.name = f"IJG libjpeg {self.VERSION} (jpeglib {version})"

    def compress(self, pixels: np.ndarray, quality: int) -> Compressed:
        """Compress pixels (uint8, H x W x C) at a quality factor 1..100, 4:2:0 in colour, and decode them again."""
        tables = _written_tables(quality, pixels.shape[2])
        with tempfile.TemporaryDirectory(prefix="ijg9-") as folder, libjpeg(self.VERSION) as jpeglib:
            path = os.path.join(folder, "image.jpg")
            image = jpeglib.from_spatial(np.ascontiguousarray(pixels))
            if pixels.shape[2] == 3:
                image.samp_factor = "4:2:0"
            image.write_spatial(path, qt=tables)
            decoded = jpeglib.read_spatial(path).spatial
        return Compressed(np.array(decoded).reshape(pixels.shape), tables)


def _written_tables(quality: int, channels: int) -> np.ndarray:
    """The tables in a file of a quality factor: one in gray, two in colour."""
    return standard_tables(quality)[: 2 if channels == 3 else 1]


CODECS = {"pillow": PillowCodec, "ijg9": Ijg9Codec}


def get_codec(name: str) -> Codec:
    """The codec called ``name``; raises UserError if it is unknown or its package is not installed."""
    try:
        return CODECS[name]()
    except KeyError:
        raise UserError(f"the codec {name!r} is unknown: choose --codec from {', '.join(CODECS)}") from None
