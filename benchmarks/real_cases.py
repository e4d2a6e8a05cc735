"""The rows of benchmarks/real_jpegs.py: how each picture becomes a JPEG."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import numpy as np
import side_by_side  # noqa: F401 (says where the modules below lie)
from PIL import Image, ImageDraw, ImageFont

from qgcn.dataset.degradation import luma
from qgcn.jpeg.codec import write_jpeg
from qgcn.jpeg.random_tables import HELD_OUT_MAKERS
from qgcn.jpeg.tables import BLOCK, LARGEST_STEP, LOW, standard_tables, tables_in_files
from qgcn.utils.image import luminance, to_pillow

STANDARD = {
    "4:2:0": (10, 20, 30, 50, 75, 85, 90, 95, 98, 100),
    "4:2:2": (10, 30, 75, 90, 95),
    "4:4:4": (10, 20, 30, 50, 75, 85, 90, 95, 98, 100),
}
"""Sampling -> qualities of standard tables."""
FLAT = (70, 60, 25, 20, 8, 3)
"""Steps of flat tables."""
ROBIDOUX = (10, 30, 75, 90)
"""Qualities of mozjpeg's default tables."""
ROBIDOUX_TABLE = [
    [16, 16, 16, 18, 25, 37, 56, 85],
    [16, 17, 20, 27, 34, 40, 53, 75],
    [16, 20, 24, 31, 43, 62, 91, 135],
    [18, 27, 31, 40, 53, 74, 106, 156],
    [25, 34, 43, 53, 69, 94, 131, 189],
    [37, 40, 62, 74, 94, 124, 169, 238],
    [56, 53, 91, 106, 131, 169, 226, 311],
    [85, 75, 135, 156, 189, 238, 311, 418],
]
"""mozjpeg's table 3, of N. Robidoux, for luma and chroma at quality 50 (mozjpeg's jcparam.c)."""
SLOPES = {"steep": 4.5, "falling": -1.5}
"""Name of tables -> octaves by which they rise: as steep as any in files, and with the smallest steps at the end."""
SLOPED = (10, 30, 75)
"""Qualities whose standard tables are as strong at low frequencies."""
GRAY = (10, 30, 75, 90)
"""Qualities of gray files."""
TEXT = "It was the best of times,\nit was the worst of times,\nit was the age of wisdom,\nit was the age of foolishness"
"""Dickens, A Tale of Two Cities: on the pages."""
INKS = ("black on yellow", "red on white", "yellow on navy", "blue on white", "white on black", "darkgreen on white")
"""Ink and paper of pages in colour."""
FILE_SAMPLING = ("4:2:0", "4:2:2", "4:4:4")
OWN_GROUP = ("Google", "JPEGmini", "mozjpeg", "Nikon", "Sony", "unlabelled")
"""Makers of so many tables that they have a row of their own."""


Maker = Callable[[int, np.ndarray], tuple[bytes, np.ndarray]]
"""Place of a picture and its pixels (uint8 RGB) -> the file and the ground truth (uint8, H x W x C)."""


class Case(NamedTuple):
    """One row: how each picture becomes a JPEG.

    Attributes:
        family, label: what the row is called.
        make: makes its files.
        sampling: of which standard tables 'share' compares with, or ''.
    """

    family: str
    label: str
    make: Maker
    sampling: str = ""

    @property
    def folder(self) -> str:
        """The name of the case in --write and --peer."""
        return f"{self.family} {self.label}".replace(":", "").replace(" ", "_").replace(",", "")


def cases() -> Iterator[Case]:
    """All rows, standard tables first."""
    for sampling, qualities in STANDARD.items():
        for quality in qualities:
            tables = standard_tables(quality)
            yield Case("standard", f"{sampling}, {quality}", colour(lambda _, t=tables: t, sampling), sampling)
    for sampling in ("4:2:0", "4:4:4"):
        for quality in ROBIDOUX:
            tables = scaled(np.stack([ROBIDOUX_TABLE] * 2), quality)
            yield Case("mozjpeg's default", f"{sampling}, {quality}", colour(lambda _, t=tables: t, sampling), sampling)
        for step in FLAT:
            tables = np.full((2, BLOCK, BLOCK), step)
            yield Case("flat", f"{sampling}, {step}", colour(lambda _, t=tables: t, sampling), sampling)
        for name, octaves in SLOPES.items():
            for quality in SLOPED:
                tables = sloped(octaves, quality)
                yield Case(name, f"{sampling}, {quality}", colour(lambda _, t=tables: t, sampling), sampling)
    groups: dict[str, list[np.ndarray]] = {}
    for entry in tables_in_files():
        if entry.chroma is not None:
            group = entry.maker if entry.maker in OWN_GROUP else "other makers"
            group = "never trained on" if entry.maker in HELD_OUT_MAKERS else group
            groups.setdefault(group, []).append(np.stack([entry.luma, entry.chroma]))
    for group, pairs in groups.items():
        for sampling in FILE_SAMPLING:
            spread = np.random.default_rng(0).permutation(len(pairs))
            tables = lambda place, pairs=pairs, spread=spread: pairs[spread[place % len(pairs)]]  # noqa: E731
            yield Case(f"files: {group}", sampling, colour(tables, sampling), sampling)
    for quality in GRAY:
        yield Case("gray", f"0 to 255, {quality}", gray(quality, full=True))
        yield Case("gray", f"MATLAB's Y, {quality}", gray(quality, full=False))
    for quality in GRAY:
        yield Case("R = G = B", f"4:2:0, {quality}", no_colour(quality))
    for quality in GRAY:
        yield Case("R, G, B coded", f"4:4:4, {quality}", coded_as_rgb(quality))
    for quality in GRAY:
        yield Case("text", f"black on white, {quality}", text(quality, "L"))
        yield Case("text", f"the same, hard edges, {quality}", text(quality, "L", hard=True))
        for sampling in ("4:2:0", "4:4:4"):
            yield Case("text", f"colour, {sampling}, {quality}", text(quality, "RGB", sampling))


def scaled(tables: np.ndarray, quality: int) -> np.ndarray:
    """Tables scaled to a quality as libjpeg does (jcparam.c, jpeg_quality_scaling), at most 255."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((tables.astype(int) * percent + 50) // 100, 1, LARGEST_STEP)


def sloped(octaves: float, quality: int) -> np.ndarray:
    """One table for luma and chroma that rises by so many octaves from DC to the far corner, as strong as a quality."""

    rows, columns = np.mgrid[:BLOCK, :BLOCK] / (BLOCK - 1)
    shape = octaves * np.hypot(rows, columns) / np.sqrt(2)
    shape += np.log2(standard_tables(quality)[0][LOW].astype(float)).mean() - shape[LOW].mean()
    return np.clip(np.rint(2.0 ** np.stack([shape, shape])), 1, LARGEST_STEP).astype(int)


def colour(tables: Callable[[int], np.ndarray], sampling: str) -> Maker:
    """Maker of colour files with the tables of each place."""

    def make(place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        return write_jpeg(to_pillow(picture), np.minimum(tables(place), LARGEST_STEP), sampling), picture

    return make


def gray(quality: int, *, full: bool) -> Maker:
    """Maker of gray files, of Y on 0..255 or MATLAB's Y."""

    def make(_place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        truth = luma(picture) if full else luminance(picture)[..., None]
        return write_jpeg(to_pillow(truth), standard_tables(quality)[:1]), truth

    return make


def no_colour(quality: int) -> Maker:
    """Maker of colour files of R = G = B."""

    def make(_place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        truth = np.repeat(luma(picture), 3, 2)
        return write_jpeg(to_pillow(truth), standard_tables(quality)), truth

    return make


def coded_as_rgb(quality: int) -> Maker:
    """Maker of files whose components are R, G and B, each with a table of its own: luma, chroma and the mean."""

    luma_steps, chroma_steps = standard_tables(quality).astype(int).reshape(2, -1)
    tables = [steps.tolist() for steps in (luma_steps, chroma_steps, (luma_steps + chroma_steps) // 2)]

    def make(_place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        stream = BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", keep_rgb=True, subsampling="4:4:4", qtables=tables)
        return stream.getvalue(), picture

    return make


def text(quality: int, mode: str, sampling: str = "4:2:0", *, hard: bool = False) -> Maker:
    """Maker of pages of text whose lower half is empty: black on white, or INKS; edges smoothed or ``hard``."""

    def make(place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        ink, paper = ("black", "white") if mode == "L" else INKS[place % len(INKS)].split(" on ")
        page = Image.new(mode, (picture.shape[1], picture.shape[0]), paper)
        upper = Image.new(mode, (page.width, page.height // 2), paper)
        draw = ImageDraw.Draw(upper)
        draw.fontmode = "1" if hard else "L"
        draw.multiline_text((8, 8), (TEXT + "\n") * 20, fill=ink, font=ImageFont.load_default(10 + place % 9))
        page.paste(upper)
        truth = np.asarray(page).reshape(page.height, page.width, -1)
        return write_jpeg(page, standard_tables(quality)[: 1 if mode == "L" else 2], sampling), truth

    return make
