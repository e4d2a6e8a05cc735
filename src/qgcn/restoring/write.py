"""Writing restored pictures: PNG of 8 or 16 bits, WebP, TIFF and JPEG, with what the original carried."""

import struct
import zlib
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from qgcn.jpeg.reader import Metadata
from qgcn.utils.image import to_pillow

FORMATS = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Extension of an output -> Pillow's name of its format."""
NAMES = tuple(suffix.removeprefix(".") for suffix in FORMATS)  # the formats on the command line (--format)
_STRIP = 256  # rows of a PNG that are filtered and compressed at once
LARGE = 50e6
"""Pixels from which on PNGs are written in strips: Pillow's own copy of the picture would decide the peak of memory."""

_OF_THE_FORMAT = (ValueError, TypeError, KeyError, struct.error, SyntaxError, OverflowError, RuntimeError)
"""What Pillow raises beside an OSError where a format has no room for what a picture carries."""

_DIRECTORY_TAGS = {int(tag) for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)}
_LAYOUT_TAGS = {*range(254, 260), 262, 266, 273, *range(277, 282), 284, 317, *range(320, 348), *range(512, 533)}
"""TIFF 6.0's tags for how pixels are stored, which EXIF may hold of the JPEG and which the TIFF has of its own."""


@dataclass(frozen=True)
class Writing:
    """How pictures are written.

    Attributes:
        form: a value of FORMATS: PNG, WEBP (lossless), TIFF (deflated, or uncompressed with EXIF's directories) or JPEG
            (4:4:4).
        depth: bits a sample, 8, or 16 for a PNG of a gray or an RGB picture with pixels of uint16.
        quality: of a JPEG, 1..100.
    """

    form: str = "PNG"
    depth: int = 8
    quality: int = 95

    @property
    def dtype(self) -> type:
        """The type of the pixels that are written."""
        return np.uint16 if self.depth == 16 else np.uint8


@dataclass(frozen=True)
class Picture:
    """A restored picture, upright.

    Attributes:
        pixels: H x W x C: C = 1 gray, 3 RGB, 4 CMYK (the highest value is full ink); uint8, uint16 on 0..65535 or
            float32 on 0..255, unrounded.
        alpha: uint8, H x W, or None where the original has none.
        metadata: of the original.
        warning: what the user should know, or ''.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    warning: str = ""

    def to_pillow(self, *, cmyk: bool = True) -> Image.Image:
        """The picture of 8 bits as Pillow has it: mode L, RGB, LA, RGBA or CMYK, profile and the like in ``info``.

        Without ``cmyk`` CMYK becomes sRGB by its own colour profile, or by Pillow's formula where it has none.
        """
        eight = self.pixels
        if eight.dtype != np.uint8:
            eight = np.rint(eight / 257 if eight.dtype == np.uint16 else eight).astype(np.uint8)
        image = Image.fromarray(eight, "CMYK") if eight.shape[2] == 4 else to_pillow(eight)
        metadata = self.metadata
        icc = metadata.icc
        if image.mode == "CMYK" and not cmyk:
            image, icc = _cmyk_to_srgb(image, icc), None
        if self.alpha is not None:
            image.putalpha(Image.fromarray(np.ascontiguousarray(self.alpha)))
        known = {"icc_profile": icc, "exif": metadata.exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
        image.info = {key: value for key, value in known.items() if value}
        return image


def write_picture(file: BinaryIO, picture: Picture, writing: Writing) -> None:
    """Write a picture into an open file; raises ValueError if the format has no room for it."""
    form, channels = writing.form, picture.pixels.shape[2]
    if writing.depth == 16 and (form != "PNG" or channels == 4):
        raise ValueError("it can't be written with 16 bits: --depth 16 takes PNG, and gray or RGB")
    if form == "JPEG" and picture.alpha is not None:
        raise ValueError("it is partly transparent, which a JPEG can't be: choose PNG, WebP or TIFF")
    large = picture.pixels[..., 0].size > LARGE and channels != 4
    in_strips = form == "PNG" and (writing.depth == 16 or large)
    first = picture
    if in_strips:  # Pillow is asked for what goes beside the pixels alone
        alpha = None if picture.alpha is None else picture.alpha[:1, :1]
        first = replace(picture, pixels=picture.pixels[:1, :1], alpha=alpha)
    image = first.to_pillow(cmyk=form in ("TIFF", "JPEG"))
    info, image.info = dict(image.info), {}
    try:
        if form == "TIFF":
            info |= _tiff_tags(info.pop("exif", None), info.pop("xmp", None))
        elif form == "JPEG":
            info |= {"quality": writing.quality, "subsampling": "4:4:4"}
        elif form == "WEBP":
            info |= {"lossless": True, "exact": True}
            info.pop("dpi", None)  # WebP has no place for it but EXIF
        elif xmp := info.pop("xmp", None):
            info["pnginfo"] = PngImagePlugin.PngInfo()
            info["pnginfo"].add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        if in_strips:
            _save_png(file, picture, image, info, writing.depth)
        else:
            image.save(file, form, **info)
    except (OSError, *_OF_THE_FORMAT) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the format
            raise
        raise ValueError(f"it can't be written as {form}: {error}") from None


def _tiff_tags(exif: bytes | None, xmp: bytes | None) -> dict:
    """How Pillow writes a TIFF with what EXIF says of the photograph, not of how the JPEG lay on the disk, and XMP."""
    tags = Image.Exif()
    try:
        tags.load(exif or b"")
    except _OF_THE_FORMAT as error:
        raise ValueError(f"its EXIF block is damaged ({error})") from None
    for tag in _LAYOUT_TAGS & set(tags):
        del tags[tag]
    if xmp:
        tags[ExifTags.Base.XMLPacket] = xmp
    # libtiff, which compresses, takes no directories within the directory.
    return {"exif": tags, "compression": "raw" if _DIRECTORY_TAGS & set(tags) else "tiff_adobe_deflate"}


def _save_png(file: BinaryIO, picture: Picture, first: Image.Image, info: dict, depth: int) -> None:
    """Write a PNG strip by strip, of 16 bits a sample, too, which Pillow has no mode for in colour.

    Pillow writes the ``first`` pixel with all that goes beside the pixels; header and data are then ours (PNG, third
    edition, 11.2.1 IHDR and 9.2: filter type 2, the difference to the row above).
    """
    small = BytesIO()
    first.save(small, "PNG", **info)
    height, width = picture.pixels.shape[:2]
    stream = small.getvalue()
    file.write(stream[:8])
    position = 8
    while position < len(stream):
        (length,) = struct.unpack_from(">I", stream, position)
        name, content = stream[position + 4 : position + 8], stream[position + 8 : position + 8 + length]
        position += length + 12
        if name == b"IHDR":
            PngImagePlugin.putchunk(file, name, struct.pack(">II", width, height), bytes([depth]), content[9:])
        elif name == b"IDAT":
            _write_rows(file, picture, depth)
        else:
            PngImagePlugin.putchunk(file, name, content)


def _write_rows(file: BinaryIO, picture: Picture, depth: int) -> None:
    """The IDAT chunks of a PNG whose samples have the type of the picture's."""
    count = depth // 8
    height, width = picture.pixels.shape[:2]
    packer = zlib.compressobj(6)
    above = np.zeros((1, width, picture.pixels.shape[2] + (picture.alpha is not None), count), np.uint8)
    for top in range(0, height, _STRIP):
        rows = picture.pixels[top : top + _STRIP]
        if picture.alpha is not None:
            alpha = picture.alpha[top : top + _STRIP]
            rows = np.dstack([rows, alpha * np.uint16(257) if depth == 16 else alpha])
        samples = np.ascontiguousarray(rows, f">u{count}").view(np.uint8).reshape(*rows.shape, count)
        stacked = np.concatenate([above, samples])
        difference = (stacked[1:] - stacked[:-1]).reshape(len(samples), -1)
        lines = np.concatenate([np.full((len(samples), 1), 2, np.uint8), difference], axis=1)
        above = samples[-1:]
        if packed := packer.compress(lines.tobytes()):
            PngImagePlugin.putchunk(file, b"IDAT", packed)
    PngImagePlugin.putchunk(file, b"IDAT", packer.flush())


def _cmyk_to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(icc))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that is damaged or not for CMYK: as if there were none
    return image.convert("RGB")
