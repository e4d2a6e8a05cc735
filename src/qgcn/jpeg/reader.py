"""Reading anybody's JPEG, and pictures that were once JPEGs: coded pixels, tables, and what comes with them."""

import re
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image, JpegImagePlugin

from qgcn.jpeg.markers import Component, chroma_reduction, is_transformed, read_structure
from qgcn.jpeg.tables import component_tables
from qgcn.utils.exif import upright
from qgcn.utils.image import to_mode

MAX_MEGAPIXELS = 200
"""Pictures larger than this are refused unless the caller asks for more: a file of a few bytes can claim 4,295."""
MAX_SCANS = 200
"""Scans beyond this are refused: each of them costs a pass over the picture, and encoders write about ten."""

_STRIP = 256  # rows that are copied at once
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8]")


@dataclass(frozen=True)
class Metadata:
    """What a file carries beside its pixels.

    Attributes:
        icc: colour profile, or None.
        exif: the block as a JPEG holds it, its orientation set to upright, or None.
        xmp: packet, its orientation set to upright, or None.
        dpi: pixels an inch across and down, or None.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Photo:
    """A picture as it was coded, before its orientation is applied: blocks lie where the encoder put them.

    Attributes:
        pixels: uint8, H x W x C: C = 1 gray, 3 RGB, 4 CMYK (255 is full ink).
        tables: uint16, components x 8 x 8, the quantization table of each component; None where nobody knows them.
        offset: row and column, 0..7, of the first block that is not cut off; other than (0, 0) in cropped pictures.
        orientation: EXIF's, 1..8.
        alpha: uint8, H x W, or None.
        metadata: what goes on into the restored file.
        form: Pillow's name of the file's format.
        stream: the JPEG itself, or None.
        reduction: by how much rows and columns of chroma are reduced; (2, 2), the commonest, where nobody knows.
        transformed: whether colour was coded as Y, Cb and Cr; False where each component is a colour or an ink itself.
        warning: what the user should know, or ''.
    """

    pixels: np.ndarray
    tables: np.ndarray | None
    offset: tuple[int, int] = (0, 0)
    orientation: int = 1
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    form: str = "JPEG"
    stream: bytes | None = None
    reduction: tuple[int, int] = (2, 2)
    transformed: bool = True
    warning: str = ""


def read_photo(source: bytes | Image.Image, *, tolerant: bool = False, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Read a file's content, or take a picture that Pillow has opened.

    Any JPEG that Pillow's libjpeg decodes is read; so is what else Pillow reads, without tables. Of a file with
    appended pictures (MPO) the first one counts.

    Args:
        tolerant: read of a JPEG that breaks off what a viewer shows of it, with a warning. (Of other damage within the
            picture libjpeg decodes what it can, and Pillow says nothing of it.)
        max_megapixels: refuse larger pictures.

    Raises:
        ValueError: with the reason, for everything that can't be read.
    """
    if isinstance(source, Image.Image):
        return _from_pillow(source, max_megapixels)
    if not source:
        raise ValueError("it is empty")
    if source[:2] == b"\xff\xd8":
        return _from_jpeg(source, tolerant, max_megapixels)
    with _pillow(Image.open, BytesIO(source)) as image:
        return _from_pillow(image, max_megapixels)


def _from_jpeg(stream: bytes, tolerant: bool, max_megapixels: float) -> Photo:
    structure = read_structure(stream)
    _check_size(structure.width, structure.height, max_megapixels)
    if structure.scans > MAX_SCANS:
        raise ValueError(f"it has {structure.scans} scans, which no encoder writes: at most {MAX_SCANS} are read")
    warning = ""
    try:
        image = _decode_jpeg(stream)
    except ValueError as error:
        try:
            # libjpeg fills what is missing in when it meets the end of the picture, which is all that viewers do
            image = _decode_jpeg(stream + b"\xff\xd9")
        except ValueError:
            raise error from None  # and no advice that would not help
        if not tolerant:
            raise ValueError(f"{error}; restore.py --tolerant restores what a viewer shows of it") from None
        warning = f"{error}: restored as far as it goes"
    coded = {"reduction": structure.reduction, "transformed": structure.transformed}
    return _photo(image, structure.tables, stream=stream, warning=warning, **coded)


def _decode_jpeg(stream: bytes) -> Image.Image:
    # Not through Image.open: no other format is tried, and the limit on the size is ours.
    image = _pillow(JpegImagePlugin.JpegImageFile, BytesIO(stream))
    _pillow(image.load)
    return image


def _from_pillow(image: Image.Image, max_megapixels: float) -> Photo:
    _check_size(*image.size, max_megapixels)
    if getattr(image, "format", None) not in ("JPEG", "MPO") and getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"it holds {image.n_frames} pictures: save the one to restore on its own")
    _pillow(image.load)
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return _photo(image, None)
    components = [Component(*layer) for layer in image.layer]
    transformed = is_transformed(components, jfif="jfif" in image.info, adobe=image.info.get("adobe_transform"))
    return _photo(image, component_tables(image), reduction=chroma_reduction(components), transformed=transformed)


def _photo(image: Image.Image, tables: np.ndarray | None, **coded) -> Photo:
    """A loaded picture as a Photo; ``coded`` is what else is known of the file."""
    alpha = None
    if tables is not None and image.mode in ("L", "RGB", "CMYK"):
        pixels = _pixels(image)
    else:
        plain = image.copy()
        plain.info = {key: value for key, value in image.info.items() if key == "transparency"}
        if "A" in plain.getbands() or "transparency" in plain.info:
            rgba = plain.convert("RGBA")
            alpha = np.asarray(rgba.getchannel("A"))
            plain = rgba.convert("L" if plain.mode in ("LA", "La", "L", "1") else "RGB")
        gray = plain.mode in ("1", "L") or plain.mode.startswith("I")
        pixels = to_mode(plain, "L" if gray else "RGB")
    pixels, form = pixels.reshape(*pixels.shape[:2], -1), image.format or "picture without a format"
    orientation, metadata = _metadata(image)
    return Photo(pixels, tables, orientation=orientation, alpha=alpha, metadata=metadata, form=form, **coded)


def _pixels(image: Image.Image) -> np.ndarray:
    """The pixels of a loaded picture, uint8, H x W (x C), copied in strips, which saves memory."""
    bands = len(image.getbands())
    pixels = np.empty((image.height, image.width, bands)[: 2 if bands == 1 else 3], np.uint8)
    for top in range(0, image.height, _STRIP):
        bottom = min(top + _STRIP, image.height)
        pixels[top:bottom] = image.crop((0, top, image.width, bottom))
    return pixels


def _check_size(width: int, height: int, max_megapixels: float) -> None:
    size = f"{width} x {height} pixels"
    if not width or not height:
        raise ValueError(f"it claims to have {size}")
    if width * height > max_megapixels * 1e6:
        raise ValueError(f"it has {size}, more than {max_megapixels:g} megapixels: --max_megapixels lifts the limit")


def _pillow(function, *arguments):
    """Call one of Pillow's readers, which meet hostile bytes; whatever they stumble over becomes a ValueError."""
    try:
        return function(*arguments)
    except Image.UnidentifiedImageError:
        raise ValueError("it is in no format that Pillow knows") from None
    except Exception as error:  # struct.error, KeyError, OverflowError ...: Pillow's plug-ins promise nothing
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"it can't be decoded ({reason})") from None


def _metadata(image: Image.Image) -> tuple[int, Metadata]:
    """The orientation of a picture and the rest of what it carries, made upright."""
    info = image.info
    icc, exif, xmp, dpi = (info.get(name) for name in ("icc_profile", "exif", "xmp", "dpi"))
    orientation, exif = upright(exif) if isinstance(exif, bytes) else (1, None)
    if not isinstance(xmp, bytes):
        xmp = None
    elif orientation > 1:  # what XMP alone asks for is neither done nor taken back
        xmp = _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    # Where JFIF gives a ratio alone, what Pillow has is its guess; EXIF's own goes on with EXIF.
    guessed = "jfif" in info and info.get("jfif_unit") not in (1, 2)
    if guessed or not (isinstance(dpi, tuple) and len(dpi) == 2 and all(0 < value < 1e6 for value in dpi)):
        dpi = None
    else:
        dpi = tuple(map(float, dpi))[:: -1 if orientation > 4 else 1]
    return orientation, Metadata(icc or None, exif or None, xmp or None, dpi)
