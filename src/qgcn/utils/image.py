"""Image files as arrays: finding, reading and writing them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from qgcn.utils.errors import UserError, check_choice
from qgcn.utils.exif import turn, upright
from qgcn.utils.files import atomic_write

JPEG_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi"))
SUFFIXES = JPEG_SUFFIXES | {".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"}
COLOR_MODES = {"RGB": 3, "L": 1}
"""Colour mode -> channels. 'L' is MATLAB's Y (16..235), not Pillow's 'L'."""


SAMPLE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
"""Photographs that scikit-image brings along."""


def sample_photographs() -> list[Path]:
    """The files of `SAMPLE`."""
    import skimage.data

    return [Path(skimage.data.__file__).parent / name for name in SAMPLE]


def check_color_mode(mode: str) -> str:
    """``mode`` itself if it is one of COLOR_MODES; raises UserError otherwise."""
    return check_choice(mode, COLOR_MODES, "--colorMode")


def image_files(folder: str | Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """All files below ``folder`` with an image's suffix, in sorted order (see `sorted_out`)."""
    return sorted_out(folder, suffixes)[0]


def sorted_out(folder: str | Path, suffixes: frozenset[str]) -> tuple[list[Path], list[Path]]:
    """All files below ``folder`` but hidden ones: those with one of ``suffixes`` and the others, each list sorted.

    Links to folders are followed, each folder once.

    Raises:
        UserError: if the folder is missing or holds no file of the first kind, or one below it can't be read.
    """

    def unreadable(error: OSError) -> None:
        raise UserError(f"the folder {error.filename!r} can't be read: {error.strerror}")

    if not Path(folder).is_dir():
        raise UserError(f"the image folder {str(folder)!r} does not exist")
    files, visited = [], set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=unreadable):
        real = os.path.realpath(place)
        folders[:] = sorted(name for name in folders if name[0] != "." and real not in visited)
        if real not in visited:
            files += [Path(place, name) for name in names if name[0] != "."]
        visited.add(real)
    images = sorted(file for file in files if file.suffix.lower() in suffixes)
    if not images:
        raise UserError(f"the folder {str(folder)!r} holds no image ({' '.join(sorted(suffixes))})")
    return images, sorted(set(files) - set(images))


def luminance(rgb: np.ndarray) -> np.ndarray:
    """MATLAB's Y of ``rgb`` (uint8, H x W x 3) as uint8, H x W, 16..235 (ITU-R BT.601, rounded)."""
    from skimage.color import rgb2ycbcr

    return np.rint(rgb2ycbcr(rgb)[..., 0]).astype(np.uint8)


def to_mode(image: Image.Image, mode: str) -> np.ndarray:
    """The pixels of ``image`` as uint8: H x W x 3 for mode 'RGB', H x W x 1 for mode 'L'.

    Orientation (EXIF) is applied, transparency is laid over white, 16-bit samples are scaled to 8 bits. In mode
    'L' colour becomes MATLAB's Y, and a gray image is taken as it is (as the field does with Classic5).

    Raises:
        ValueError: for pixels without a known range (floating point, 32-bit integers over 65535).
    """
    image.load()
    exif = image.info.get("exif")
    # Not exif_transpose, which stumbles over any wrong value of the whole block. (Pillow turns a TIFF as it loads it.)
    orientation = upright(exif)[0] if isinstance(exif, bytes) else 1
    return np.ascontiguousarray(turn(_coded(image, mode), orientation))


def _coded(image: Image.Image, mode: str) -> np.ndarray:
    """The pixels of `to_mode` before the orientation is applied."""
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.size and (wide.min() < 0 or wide.max() > 65535):
            raise ValueError("its 32-bit samples have no known range")
        image = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its floating-point samples have no known range")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        gray = image.mode in ("LA", "La", "L", "1")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        image = image.getchannel(0) if gray else image
    if mode == "RGB":
        return np.array(image.convert("RGB"))
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))[..., None]
    return luminance(np.asarray(image.convert("RGB")))[..., None]


def load_image(path: str | Path, mode: str) -> np.ndarray:
    """Read an image file as uint8 pixels, H x W x C (see `to_mode`).

    Raises:
        UserError: if Pillow can't read the file, naming it and the reason.
    """
    try:
        with Image.open(path) as image:
            return to_mode(image, mode)
    except FileNotFoundError:
        raise UserError(f"the image {str(path)!r} does not exist") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"the image {str(path)!r} is too large: {error}") from None
    except UnidentifiedImageError:
        raise UserError(f"the image {str(path)!r} can't be read: it is in no format that Pillow knows") from None
    except MemoryError:
        raise
    except Exception as error:  # struct.error, TypeError ...: Pillow's plug-ins promise nothing of damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"the image {str(path)!r} can't be read: {reason}") from None


def to_pillow(pixels: np.ndarray) -> Image.Image:
    """Pixels (uint8, H x W x 3 or H x W x 1) as a Pillow image of mode RGB or L."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def save_png(path: str | Path, pixels: np.ndarray) -> None:
    """Write pixels (uint8, H x W x C) as PNG, whole or not at all."""
    save_pillow(path, to_pillow(pixels))


def save_pillow(path: str | Path, image: Image.Image) -> None:
    """Write a Pillow image as PNG, whole or not at all."""
    with atomic_write(path) as file:
        image.save(file, "PNG")


def pad_to_multiple(pixels: np.ndarray, multiple: int) -> np.ndarray:
    """Pixels (H x W x C) padded at the bottom and right by edge replication to multiples of ``multiple``."""
    height, width = pixels.shape[:2]
    if height % multiple == 0 and width % multiple == 0:
        return pixels
    return np.pad(pixels, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")


def output_names(names: Sequence[Path], suffix: str, files: Sequence[Path] | None = None) -> list[Path]:
    """The names with ``suffix`` instead of their own. None depends on the others, which may come and go.

    Args:
        files: what errors call the names (default: the names themselves).

    Raises:
        UserError: if two would become the same.
    """
    files = files or names
    places: dict[Path, int] = {}
    for place, name in enumerate(names):
        output = name.with_suffix(suffix)
        first = places.setdefault(output, place)
        if first != place:
            both = f"{str(files[first])!r} and {str(files[place])!r} would both be written as {str(output)!r}"
            remedy = "give the folder that holds both" if names[first] == name else "rename one"
            raise UserError(f"{both}: {remedy}, or take them in two runs with an output each")
    return list(places)
