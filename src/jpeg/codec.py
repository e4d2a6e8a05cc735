"""Compression to JPEG and back, in memory."""

from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import features

from jpeg.tables import open_jpeg, quantization_tables
from utils.image import to_pillow


class Compressed(NamedTuple):
    """A decoded JPEG.

    Attributes:
        pixels: uint8, H x W x C, C = 3 (RGB) or 1 (gray).
        tables: uint8, T x 8 x 8 in natural order: luminance and, in colour, chrominance.
    """

    pixels: np.ndarray
    tables: np.ndarray


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
        to_pillow(pixels).save(stream, "JPEG", quality=quality)
        with open_jpeg(stream) as image:
            decoded = np.asarray(image)
            return Compressed(decoded.reshape(pixels.shape), quantization_tables(image))
