"""Restoring one JPEG of any kind, the way for programs and for users of this project as a library."""

import math
import stat
from collections.abc import Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from qgcn.jpeg.estimation import estimate
from qgcn.jpeg.library import require_jpeglib
from qgcn.jpeg.projection import project, read_coefficients
from qgcn.jpeg.reader import MAX_MEGAPIXELS, Photo, read_photo
from qgcn.jpeg.tables import standard_tables
from qgcn.restoring.components import Components
from qgcn.restoring.model import Model, load_model, shipped_checkpoints
from qgcn.restoring.tiles import levels
from qgcn.restoring.write import Picture
from qgcn.utils.errors import UserError, is_out_of_memory
from qgcn.utils.exif import turn
from qgcn.utils.image import COLOR_MODES

BYTES_A_PIXEL = 8
"""How many a file may have at most for each pixel of the size limit."""


@dataclass(eq=False)
class Restorer:
    """Restores JPEGs with the quantization tables that they carry; any number of threads may use it at once.

    (With ``project``, what other threads print while a file's coefficients are read is lost.)

    ::

        from qgcn import Restorer
        image = Restorer("checkpoint/qcn_rgb.pth").restore("photo.jpg")   # a PIL.Image
        image.save("photo.png", **image.info)

    What goes to which network, and what is left as it is, is in components.Components.

    Args:
        models: a checkpoint's path, a model.Model, or several, at most one for colour and one for gray; None takes
            the best that are shipped. The attribute has them by channels, 3 and 1.
        device: where checkpoints given by path run (default: the CPU).
        backend, precision, int8: how they run (model.load_model).
        memory: bytes that the network's features may take; larger pictures are restored in tiles (tiles.tile_side).
        strength: 0..1, how much of the restored picture is blended into the decoded one.
        self_ensemble: average over the 8 flips and rotations, which takes 8 times as long.
        project: move the restored picture to the nearest one that the file allows: every DCT coefficient within the
            interval that its quantized value stands for (jpeg.projection.project). After blending and averaging;
            before rounding to 8 bits. Takes the package jpeglib, and files, gray or in colour.
        quality: tables of this JPEG quality factor for pictures that carry none.
        estimate: estimate the tables, and where blocks start, of pictures that carry none (jpeg.estimation).
        tolerant: restore what a viewer shows of a file that breaks off, instead of refusing it.
        max_megapixels: refuse larger pictures.

    Raises:
        UserError: if a number is out of its range, a checkpoint can't be read, two models are of one kind, jpeglib is
            missing for ``project``, or both ``quality`` and ``estimate`` are given.
    """

    models: InitVar[str | Path | Model | Sequence[str | Path | Model] | None] = None
    _: KW_ONLY
    device: InitVar[torch.device | None] = None
    backend: InitVar[str] = ""
    precision: InitVar[str] = "fp32"
    int8: InitVar[bool] = False
    memory: InitVar[float | None] = None
    strength: float = 1.0
    self_ensemble: bool = False
    project: bool = False
    quality: int | None = None
    estimate: bool = False
    tolerant: bool = False
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self, models, device, backend, precision, int8, memory):
        for name, value, lowest, highest in (
            ("quality", self.quality, 1, 100),
            ("strength", self.strength, 0, 1),
            ("max_megapixels", self.max_megapixels, 0, math.inf),
            ("memory", memory, 0, math.inf),
        ):
            if value is not None and not lowest <= value <= highest:
                raise UserError(f"{name} {value} is not a number from {lowest} to {highest}")
        if self.quality is not None and self.estimate:
            raise UserError("--quality says what --estimate would find out: give one of them")
        if self.project:
            require_jpeglib("--project")
        if models is None:
            models = shipped_checkpoints(*COLOR_MODES)
        elif isinstance(models, (str, Path, Model)):
            models = [models]
        self.models: dict[int, Model] = {}
        for model in models:
            if not isinstance(model, Model):
                model = load_model(model, device, backend=backend, precision=precision, int8=int8, memory=memory)
            if other := self.models.get(model.channels):
                kind = "colour" if model.channels == 3 else "gray"
                raise UserError(f"{other.source!r} and {model.source!r} are both for {kind}: give one of each kind")
            self.models[model.channels] = model

    @property
    def max_bytes(self) -> int:
        """Longer files are not read."""
        return int(self.max_megapixels * 1e6 * BYTES_A_PIXEL)

    @property
    def title(self) -> str:
        """The networks' names in the paper."""
        return " and ".join(sorted({model.title for model in self.models.values()}))

    def restore(self, source: str | Path | bytes | Image.Image) -> Image.Image:
        """Restore a file, its content, or a picture that Pillow has opened.

        Args:
            source: of a picture that Pillow has opened as a JPEG, the tables are taken from it. They fit the pixels of
                the file: not after ``thumbnail``, ``draft`` or anything else that changes a picture in place.

        Returns:
            The restored picture, upright: mode L, RGB, CMYK, LA or RGBA, with the original's ``icc_profile``,
            ``exif``, ``xmp`` and ``dpi`` in its ``info``.

        Raises:
            UserError: with the name and the reason, if it can't be restored.
        """
        return self.restore_picture(source).to_pillow()

    def restore_picture(self, source: str | Path | bytes | Image.Image, *, dtype: type = np.uint8) -> Picture:
        """Like `restore`, but with a warning where there is one, and pixels of ``dtype`` (write.Picture)."""
        name = repr(str(source)) if isinstance(source, (str, Path)) else "the picture"
        try:
            if isinstance(source, (str, Path)):
                source = read_file(Path(source), self.max_bytes)
            photo = read_photo(source, tolerant=self.tolerant, max_megapixels=self.max_megapixels)
            return self.restore_photo(photo, dtype=dtype)
        except OSError as error:
            raise UserError(f"{name} can't be read: {error.strerror or error}") from None
        except ValueError as error:
            raise UserError(f"{name} can't be restored: {error}") from None
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"{name} takes more memory than there is: a lower --memory makes smaller tiles") from None

    def restore_photo(self, photo: Photo, *, dtype: type = np.uint8) -> Picture:
        """Restore what was read of a file, whose pixels may be written over, to pixels of ``dtype``.

        Raises:
            ValueError: if it has no tables and none are given, or can't be projected.
        """
        photo = self._with_tables(photo)
        components = Components(photo, self.models, strength=self.strength, ensemble=self.self_ensemble)
        if self.project and photo.stream is None:
            raise ValueError(f"--project takes a JPEG file: of this {photo.form} the pixels alone are known")
        coefficients = read_coefficients(photo.stream) if self.project and not components.left_alone else None
        restored = components.restore(np.float32 if self.project or self.self_ensemble else dtype)
        if coefficients is not None:
            restored = project(restored.astype(np.float32), coefficients)
        alpha = None if photo.alpha is None else turn(photo.alpha, photo.orientation)
        warning = "; ".join(filter(None, (photo.warning, *components.notes)))
        return Picture(turn(levels(restored, dtype), photo.orientation), alpha, photo.metadata, warning)

    def _with_tables(self, photo: Photo) -> Photo:
        """The photo with the tables of --quality or --estimate where it has none of its own."""
        if photo.tables is not None:
            return photo
        if self.estimate:
            _, _, offset, tables = estimate(photo.pixels)
        elif self.quality is not None:
            offset, tables = photo.offset, standard_tables(self.quality)
        else:
            raise ValueError(
                f"it is a {photo.form}, which carries no quantization tables: if it was a JPEG once, restore.py "
                "takes --quality Q or --estimate"
            )
        return replace(photo, tables=tables[[0, 1, 1][: photo.pixels.shape[2]]], offset=offset)


def read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is something else (a folder, a device, a pipe that might never end), or longer.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file")
    if status.st_size > limit:
        raise ValueError(f"it is {status.st_size / 1e6:.0f} MB long: --max_megapixels lifts the limit")
    return path.read_bytes()
