"""Compression to JPEG and back: the codecs by name."""

import os
import tempfile
from io import BytesIO
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, features

from qgcn.jpeg.color import RGB, YCC
from qgcn.jpeg.library import libjpeg, require_jpeglib
from qgcn.jpeg.tables import BLOCK, standard_tables
from qgcn.utils.errors import choose
from qgcn.utils.image import to_pillow


class Compressed(NamedTuple):
    """A decoded JPEG.

    Attributes:
        pixels: uint8, H x W x C, C = 3 (RGB) or 1 (gray).
        tables: uint8, T x 8 x 8 in natural order: luminance and, in colour, chrominance.
        reduction: by how much rows and columns of chroma are reduced.
    """

    pixels: np.ndarray
    tables: np.ndarray
    reduction: tuple[int, int] = (2, 2)


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

    def __init__(self):
        library = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
        version = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
        self.name = f"{library} {version} (Pillow)"

    def compress(self, pixels: np.ndarray, quality: int) -> Compressed:
        """Compress pixels (uint8, H x W x C) at a quality factor 1..100 and decode the stream again."""
        stream = BytesIO()
        image = to_pillow(pixels)
        image.save(stream, "JPEG", quality=quality)
        # The stream is Pillow's own: nothing in it has to be looked up before it is decoded.
        decoded = Image.frombytes(image.mode, image.size, stream.getvalue(), "jpeg", image.mode, "")
        return Compressed(np.asarray(decoded).reshape(pixels.shape), _written_tables(quality, pixels.shape[2]))


_TO_YCC = tuple(np.column_stack([YCC, [0, 128, 128]]).ravel().tolist())
_FROM_YCC = tuple(np.column_stack([RGB, RGB @ [0, -128, -128]]).ravel().tolist())
"""Pillow's matrices of three rows; its own mode YCbCr rounds with an error of 1.4 levels."""

SUBSAMPLING = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2), "4:4:0": (2, 1)}
"""Sampling -> by how much rows and columns of chroma are reduced."""


def jpeg_round_trip(
    pixels: np.ndarray, tables: np.ndarray, sampling: str = "4:2:0", *, simple_chroma: bool = False
) -> np.ndarray:
    """Compress with any quantization tables and sampling by Pillow's libjpeg, and decode again.

    Args:
        pixels: uint8, H x W x C, C = 3 (RGB) or 1 (gray, whose sampling does not matter).
        tables: 1 to 3 x 8 x 8, 1..65535, in natural order: luminance, chrominance, Cr where it has its own.
        sampling: a key of SUBSAMPLING.
        simple_chroma: enlarge reduced chroma by repeating its samples, as simple decoders do, not as libjpeg-turbo
            does by default ("fancy upsampling"). H and W are multiples of the reduction then.

    Returns:
        uint8 like ``pixels``.
    """
    if pixels.shape[2] == 1:
        return _round_trip(to_pillow(pixels), tables[:1]).reshape(pixels.shape)
    if sampling == "4:4:0":  # which Pillow does not write: 4:2:2 on its side
        turned = np.ascontiguousarray(pixels.swapaxes(0, 1))
        decoded = jpeg_round_trip(turned, tables.swapaxes(1, 2), "4:2:2", simple_chroma=simple_chroma)
        return np.ascontiguousarray(decoded.swapaxes(0, 1))
    if simple_chroma and sampling != "4:4:4":
        return _simple_round_trip(pixels, tables, *SUBSAMPLING[sampling])
    return _round_trip(to_pillow(pixels), tables, sampling)


def write_jpeg(image: Image.Image, tables: np.ndarray, sampling: str = "4:2:0") -> bytes:
    """A baseline JPEG of a picture of mode L or RGB; ``tables`` and ``sampling`` as in `jpeg_round_trip`, but 4:4:0."""
    stream = BytesIO()
    image.save(stream, "JPEG", qtables=tables.reshape(len(tables), -1).tolist(), subsampling=sampling)
    return stream.getvalue()


def _round_trip(image: Image.Image, tables: np.ndarray, sampling: str = "4:2:0") -> np.ndarray:
    stream = write_jpeg(image, tables, sampling)
    return np.asarray(Image.frombytes(image.mode, image.size, stream, "jpeg", image.mode, ""))


def _simple_round_trip(pixels: np.ndarray, tables: np.ndarray, down: int, across: int) -> np.ndarray:
    """Luma, and chroma reduced, through gray JPEGs of their own: the coefficients are those of one file of all."""
    luma, *chroma = to_pillow(pixels).convert("RGB", _TO_YCC).split()
    reduced = [np.asarray(plane.reduce((across, down))) for plane in chroma]
    if len(tables) < 3:  # one table for both: one JPEG for both, if whole blocks go to each
        high = -len(reduced[0]) % BLOCK
        stacked = np.concatenate([np.pad(plane, ((0, high), (0, 0)), "edge") if high else plane for plane in reduced])
        both = np.split(_round_trip(Image.fromarray(stacked), tables[-1:]), 2)
        decoded = [plane[: len(reduced[0])] for plane in both]
    else:
        pairs = zip(map(Image.fromarray, reduced), tables[1:], strict=True)
        decoded = [_round_trip(plane, table[None]) for plane, table in pairs]
    planes = [Image.fromarray(_round_trip(luma, tables[:1]))]
    planes += [Image.fromarray(plane).resize(luma.size, Image.Resampling.NEAREST) for plane in decoded]
    return np.array(Image.merge("RGB", planes).convert("RGB", _FROM_YCC))


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
    return choose(CODECS, name, "--codec")()
