"""Which network restores which components of a photo, and which quantization tables it is told."""

from collections.abc import Mapping

import numpy as np

from qgcn.jpeg.codec import Compressed
from qgcn.jpeg.color import LUMA
from qgcn.jpeg.reader import Photo
from qgcn.jpeg.tables import BLOCK, LARGEST_STEP, nearest_standard, network_tables, rise
from qgcn.restoring.model import Model
from qgcn.utils.exif import turn
from qgcn.utils.image import pad_to_multiple

FINEST = 2
"""Files whose steps are no larger are left as they are: rounding to 8 bits costs more than there is to gain."""
ONE_LEVEL_OF_CHROMA = 2
"""How far R, G and B of a gray pixel are apart where Cb is 127 or 129 instead of 128: 1.772 levels, rounded."""
FLATTER = 1.5
"""Octaves by which luma's table rises less than the nearest standard one, where own tables mislead a network."""
_STRIP = 256  # rows that are looked at at once


class Components:
    """The restoration of one photo.

    - Colour goes to a colour model and gray to a gray one; so does colour whose decoded pixels all have R = G = B, and
      each component of a file that was coded as R, G and B, with its own table.
    - With a model for colour alone gray goes through it, its pixels in all three channels and its one table as both,
      and the luma of the result is taken. With one for gray alone the luma of colour is restored, with the luminance
      table, and the chroma stays as decoded.
    - Of CMYK that was coded as Y, Cb, Cr and K the inks C, M and Y are restored as colour and K as gray; of other CMYK
      each ink goes through the gray model, with its own table.
    - A network that has learnt from standard tables alone (checkpoints.degradation) is told the nearest ones where
      a file's own are flatter, which mislead it.
    - Files whose steps are all 1 or 2 are left as they are.

    Args:
        photo: with tables.
        models: by channels, 3 for colour and 1 for gray.
        strength: 0..1, how much of the restored picture is blended into the decoded one.
        ensemble: average over the 8 flips and rotations.

    Attributes:
        notes: what the user should know, once `restore` has been called.
    """

    def __init__(self, photo: Photo, models: Mapping[int, Model], *, strength: float = 1.0, ensemble: bool = False):
        self.photo, self.models, self.strength, self.ensemble = photo, models, strength, ensemble
        self.notes: list[str] = []

    def restore(self, dtype: type = np.float32) -> np.ndarray:
        """The restored pixels, H x W x C on 0..255: of ``dtype`` where the network's output is final, else float32.

        Rounding tile by tile saves three quarters of the memory. The photo's own pixels may be written over.
        """
        pixels, tables = self.photo.pixels, self.photo.tables
        channels = pixels.shape[2]
        if self.left_alone:
            self._note(f"left as it is: no quantization step is over {FINEST}")
            return pixels.astype(np.float32) if dtype == np.float32 else pixels
        if tables.max() > LARGEST_STEP:
            self._note(f"its quantization steps, up to {tables.max()}, are taken as {LARGEST_STEP} at most")
        if channels == 1:
            return self._gray(pixels, tables[:1], dtype)
        if channels == 4:
            light = 255 - pixels
            if not self.photo.transformed:
                return 255 - self._each(light, tables)
            inks = self._color(light[..., :3], tables[:3], np.float32)
            return 255 - np.concatenate([inks, self._gray(light[..., 3:], tables[3:], np.float32)], axis=2)
        if not self.photo.transformed:
            return self._each(pixels, tables)
        if is_gray(pixels):
            return np.repeat(self._gray(pixels[..., [1]], tables[:1], dtype), 3, axis=2)
        return self._color(pixels, tables, dtype)

    @property
    def left_alone(self) -> bool:
        """Whether `restore` leaves the photo as it is."""
        return self.photo.tables.max() <= FINEST

    def _each(self, pixels: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Restore each component (uint8, H x W x C) as gray: float32."""
        planes = [self._gray(pixels[..., [n]], tables[[n]], np.float32) for n in range(len(tables))]
        return np.concatenate(planes, axis=2)

    def _color(self, rgb: np.ndarray, tables: np.ndarray, dtype: type) -> np.ndarray:
        """Restore uint8 RGB, H x W x 3, to ``dtype`` by a colour model, or to float32 by a gray one."""
        if 3 in self.models:
            return self._through(self.models[3], rgb, self._told(self.models[3], tables), dtype)
        luma = np.rint(rgb @ LUMA).astype(np.uint8)[..., None]
        restored = self._through(self.models[1], luma, self._told(self.models[1], tables[:1]), np.float32)
        # the same change of all three channels is a change of Y alone
        return np.clip(rgb + (restored - luma), 0, 255)

    def _gray(self, gray: np.ndarray, tables: np.ndarray, dtype: type) -> np.ndarray:
        """Restore uint8 gray, H x W x 1, to ``dtype`` by a gray model, or to float32 by a colour one."""
        if 1 in self.models:
            return self._through(self.models[1], gray, self._told(self.models[1], tables), dtype)
        gray, told = np.repeat(gray, 3, 2), np.repeat(self._told(self.models[3], tables), 2, 0)
        return (self._through(self.models[3], gray, told, np.float32) @ LUMA)[..., None]

    def _through(self, model: Model, pixels: np.ndarray, tables: np.ndarray, dtype: type) -> np.ndarray:
        """Restore pixels of the model's channels, padded at the top and left until blocks start in the corner."""
        height, width = pixels.shape[:2]
        top, left = (-start % BLOCK for start in self.photo.offset)
        if top or left:
            pixels = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), "edge")
        compressed = Compressed(pixels, tables, self.photo.reduction)
        if self.ensemble:
            restored = self_ensemble(model, compressed, self.strength)
        else:
            # Nobody else holds the pixels that a photo was read to, and nothing looks at them after the last step.
            in_place = dtype == np.uint8 and pixels.flags.writeable
            restored = model.restore(compressed, dtype=dtype, strength=self.strength, in_place=in_place)
        return restored[top : top + height, left : left + width]

    def _told(self, model: Model, tables: np.ndarray) -> np.ndarray:
        """The tables that a model is told of those of the components: uint8, T x 8 x 8."""
        tables = network_tables(tables)
        if model.degradation != "published" or not model.input.takes_tables:
            return tables
        nearest = nearest_standard(tables)
        if rise(tables[0]) >= rise(nearest[0]) - FLATTER:
            return tables
        self._note("its tables are flatter than those that the network has learnt: told the nearest standard ones")
        return nearest

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def is_gray(rgb: np.ndarray) -> bool:
    """Whether all pixels (uint8, H x W x 3) have R = G = B, up to one level of chroma (encoders round)."""
    strips = (rgb[top : top + _STRIP].astype(np.int16) for top in range(0, len(rgb), _STRIP))
    return all(np.abs(strip - strip[..., 1:2]).max() <= ONE_LEVEL_OF_CHROMA for strip in strips)


def self_ensemble(model: Model, compressed: Compressed, strength: float = 1.0) -> np.ndarray:
    """The mean of what a model makes of the 8 flips and rotations, as EDSR does (Lim et al., CVPRW 2017).

    The picture is padded to whole blocks first, so that blocks start in the corner however it is turned. A flip
    changes signs of DCT coefficients but no step size; where rows and columns change places, those of the tables do.
    """
    height, width = compressed.pixels.shape[:2]
    padded = pad_to_multiple(compressed.pixels, BLOCK)
    total = np.zeros(padded.shape, np.float32)
    for orientation in range(1, 9):
        turned = np.ascontiguousarray(turn(padded, orientation))
        tables, reduction = compressed.tables, compressed.reduction
        if orientation > 4:
            tables, reduction = np.ascontiguousarray(tables.swapaxes(1, 2)), reduction[::-1]
        back = {6: 8, 8: 6}.get(orientation, orientation)
        total += turn(model.restore(Compressed(turned, tables, reduction), strength=strength), back)
    return (total / 8)[:height, :width]
