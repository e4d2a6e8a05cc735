"""What a JPEG file says of its picture, and the nearest picture that says the same.

A quantized coefficient q of step Q stands for every value from (q - 1/2) Q to (q + 1/2) Q (ITU-T T.81, A.3.4): the
picture that was compressed lies within these intervals, and so should a restored one. Cutting its coefficients off at
their ends is the projection onto all pictures that the file allows (Zakhor, IEEE Trans. Circuits Syst. Video Technol.
1992).
"""

import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qgcn.jpeg.color import RGB, YCC
from qgcn.jpeg.dct import LEVEL_SHIFT, dct, inverse_dct, to_blocks, to_plane
from qgcn.jpeg.library import libjpeg
from qgcn.jpeg.markers import picture_alone, read_structure
from qgcn.jpeg.tables import BLOCK

VERSION = "turbo210"  # the libjpeg that reads coefficients: of those that jpeglib carries the nearest to Pillow's

HALF = np.float32(0.5 - 1 / 256)
"""Half a step, less what keeps a float32 picture from leaving an interval by its rounding."""

ROUNDS = 8
"""Usually one is enough; on LIVE1 at quality 50 one leaves 0.11 % of the coefficients outside and eight 0.02 %."""

_BAND = 2 * BLOCK * 12  # rows that are projected at once: whole blocks of components that are reduced by 1, 2, 3 or 4


class Component(NamedTuple):
    """A component of a file.

    Attributes:
        quantized: int16, R x C x 8 x 8, its coefficients as the file holds them, in natural order.
        steps: float32, 8 x 8, its quantization table.
        down, across: rows and columns of the picture for each of its own.
    """

    quantized: np.ndarray
    steps: np.ndarray
    down: int
    across: int


class Coefficients(NamedTuple):
    """The coefficients of a gray or colour file, or of a band of its rows.

    Attributes:
        components: Y, or Y, Cb and Cr, or R, G and B.
        rgb: whether they are the last.
    """

    components: tuple[Component, ...]
    rgb: bool


def read_coefficients(stream: bytes) -> Coefficients:
    """The coefficients of a JPEG, baseline or progressive, read by jpeglib (jpeg.library.require_jpeglib).

    Raises:
        ValueError: if it is CMYK, or they can't be read.
    """
    structure = read_structure(stream)
    if len(structure.components) not in (1, 3):
        raise ValueError("it is CMYK: --project takes gray and colour")
    planes = _read_planes(picture_alone(stream), len(structure.components))
    across = max(component.horizontal for component in structure.components)
    down = max(component.vertical for component in structure.components)
    components = []
    for component, plane, table in zip(structure.components, planes, structure.tables, strict=True):
        if across % component.horizontal or down % component.vertical:
            raise ValueError("its components are reduced by a fraction, which --project can't undo")
        reduced = down // component.vertical, across // component.horizontal
        size = structure.height, structure.width
        blocks = tuple(-(-side // (BLOCK * by)) for side, by in zip(size, reduced, strict=True))
        if plane.shape != (*blocks, BLOCK, BLOCK):
            raise ValueError("its coefficients don't cover its picture")
        components.append(Component(plane, table.astype(np.float32), *reduced))
    return Coefficients(tuple(components), not structure.transformed)


def _read_planes(stream: bytes, count: int) -> list[np.ndarray]:
    """The quantized coefficients of ``count`` components, int16, R x C x 8 x 8 each."""
    printed = StringIO()
    with tempfile.TemporaryDirectory(prefix="project-") as folder, libjpeg(VERSION) as jpeglib:
        path = Path(folder, "picture.jpg")
        path.write_bytes(stream)
        try:
            with redirect_stdout(printed):
                image = jpeglib.read_dct(path)
                return [image.Y] if count == 1 else [image.Y, image.Cb, image.Cr]
        except Exception as error:  # hostile bytes: jpeglib promises no more than Pillow's plug-ins do
            # Where it fails it leaves its copy of the file behind and prints "<path> <copy>".
            for name in printed.getvalue().split()[1:]:
                Path(name).unlink(missing_ok=True)
            reason = "it is damaged" if isinstance(error, OSError) else type(error).__name__
            raise ValueError(f"its coefficients can't be read ({reason})") from None


def transform(pixels: np.ndarray, file: Coefficients) -> list[np.ndarray]:
    """The coefficients of a picture on a file's grid, before quantization.

    Where blocks reach beyond the picture, what is outside is the file's own.

    Args:
        pixels: float32, H x W x C on 0..255.
        file: with blocks that cover H x W.

    Returns:
        For each component float32, R x C x 8 x 8.
    """
    height, width = pixels.shape[:2]
    if len(file.components) == 1 or file.rgb:
        planes = pixels - np.float32(LEVEL_SHIFT)
    else:
        planes = pixels @ YCC.T - np.array([LEVEL_SHIFT, 0, 0], np.float32)
    found = []
    for number, (quantized, steps, down, across) in enumerate(file.components):
        plane = _enlarge(to_plane(inverse_dct(quantized * steps)), down, across)
        plane[:height, :width] = planes[..., number]
        rows, columns = plane.shape[0] // down, plane.shape[1] // across
        found.append(dct(to_blocks(plane.reshape(rows, down, columns, across).mean((1, 3)))))
    return found


def project(pixels: np.ndarray, file: Coefficients) -> np.ndarray:
    """The nearest picture whose coefficients, quantized with a file's tables, are the file's.

    A reduced component is the mean of the pixels for which its sample stands, as encoders make it, so what its
    samples miss is added to all of them alike: what the picture has of finer chroma stays. Where values must be cut
    off at 0 and 255, which can lead out of the intervals again, both steps alternate up to ROUNDS times (projection
    onto convex sets); a few coefficients of such blocks can stay outside.

    Args:
        pixels: float32, H x W x C on 0..255.
        file: of `read_coefficients`.

    Returns:
        Like ``pixels``.
    """
    projected = np.empty_like(pixels)
    for top in range(0, len(pixels), _BAND):
        part = pixels[top : top + _BAND]
        bands = []
        for component in file.components:
            start, count = top // (BLOCK * component.down), _BAND // (BLOCK * component.down)
            bands.append(component._replace(quantized=component.quantized[start : start + count]))
        rows = Coefficients(tuple(bands), file.rgb)
        for _ in range(ROUNDS):
            moved = part + _correction(part, rows)
            part = np.clip(moved, 0, 255)
            if np.abs(part - moved).max() < 0.01:
                break
        projected[top : top + _BAND] = part
    return projected


def _correction(pixels: np.ndarray, file: Coefficients) -> np.ndarray:
    """What brings a picture's coefficients into their intervals: float32, H x W x C."""
    height, width = pixels.shape[:2]
    changes = np.empty_like(pixels)
    for number, (component, found) in enumerate(zip(file.components, transform(pixels, file), strict=True)):
        quantized, steps, down, across = component
        wanted = np.clip(found, (quantized - HALF) * steps, (quantized + HALF) * steps)
        changes[..., number] = _enlarge(to_plane(inverse_dct(wanted - found)), down, across)[:height, :width]
    return changes if len(file.components) == 1 or file.rgb else changes @ RGB.T


def share_kept(pixels: np.ndarray, file: Coefficients) -> float:
    """The share, 0..1, of a picture's coefficients (`transform`) that are quantized to the file's."""
    pairs = zip(transform(pixels, file), file.components, strict=True)
    kept = [(np.abs(found - of.quantized * of.steps) <= of.steps / 2).ravel() for found, of in pairs]
    return float(np.concatenate(kept).mean())


def _enlarge(plane: np.ndarray, down: int, across: int) -> np.ndarray:
    """Each sample as often as the picture has pixels for it."""
    return plane.repeat(down, 0).repeat(across, 1)
