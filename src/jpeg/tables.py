"""Quantization tables of JPEG files, and the quantization maps that networks see (paper section III-A)."""

import numpy as np
import torch
from PIL import Image, JpegImagePlugin

BLOCK = 8
"""Side of a DCT block, samples (ITU-T T.81, A.3.1)."""


def quantization_tables(image: JpegImagePlugin.JpegImageFile) -> np.ndarray:
    """The luminance and chrominance quantization tables of an opened JPEG.

    Returns uint8, T x 8 x 8 in natural (row-major) order, 1..255: T = 1 for a gray file, else 2, the tables of the
    first and the second component as the frame header assigns them (ITU-T T.81, B.2.2). Values of 16-bit tables
    over 255 are taken as 255: the network's input, one byte per step size, has no room for them.

    Raises:
        ValueError: if a component names a table that the file does not define.
    """
    components = image.layer[:2] if len(image.layer) > 1 else image.layer[:1]
    try:
        tables = [image.quantization[table] for _, _, _, table in components]
    except KeyError as error:
        raise ValueError(f"it has no quantization table {error.args[0]}") from None
    return np.minimum(np.array(tables), 255).astype(np.uint8).reshape(-1, BLOCK, BLOCK)


def quantization_map(tables: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Tile tables (B x T x 8 x 8, any dtype) from the top-left corner over B x T x height x width."""
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    return tables.repeat(1, 1, rows, columns)[..., :height, :width]


def open_jpeg(source) -> JpegImagePlugin.JpegImageFile:
    """Open ``source`` (path or binary file) as a JPEG.

    Raises:
        ValueError: if it is not a JPEG.
        OSError: if it can't be read.
    """
    image = Image.open(source)
    if image.format == "MPO":  # a JPEG with more pictures appended, as cameras write: the first one counts
        image.__class__ = JpegImagePlugin.JpegImageFile
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        image.close()
        raise ValueError(f"it is a {image.format}, not a JPEG, so it carries no quantization tables")
    return image
