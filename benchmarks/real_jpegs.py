"""What restoring gains on JPEGs as people have them: many tables, samplings and strengths, gray, white pages.

    python benchmarks/real_jpegs.py --model now=checkpoint/qcn_rgb.pth,checkpoint/qcn_gray.pth
    python benchmarks/real_jpegs.py --write jpegs/                  # the files, for another method to restore
    python benchmarks/real_jpegs.py --peer theirs=restored/         # restored/CASE/IMAGE.png

Each file goes through what restore.py does, its rules included. A cell is the mean gain in PSNR over the file as Pillow
decodes it, and the gain of the worst picture in brackets. For the tables that files have, 'share' is the mean gain as a
share of what standard tables of the same sampling give the same pictures at the same PSNR of the JPEG.
"""

import json
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from side_by_side import print_table

from program import params, run

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
STEEP = (10, 30, 75)
"""Qualities as strong at low frequencies as tables that rise as steeply as any that was found."""
REVERSED = (10, 30, 75)
"""Likewise, of tables whose steps fall with frequency: small steps at high frequencies."""
GRAY = (10, 30, 75, 90)
"""Qualities of gray files."""
FILE_SAMPLING = ("4:2:0", "4:2:2", "4:4:4")
GROUPS = {"Fujifilm": "held out", "Minolta": "held out", "Casio": "held out", "Kodak": "held out", "HP": "held out"}
OWN_GROUP = ("Google", "JPEGmini", "mozjpeg", "Nikon", "Sony", "unlabelled")
"""Makers of so many tables that they have a row of their own."""


class Case(NamedTuple):
    """One row: how each picture becomes a JPEG.

    Attributes:
        family, label: what the row is called.
        make: place of a picture and its pixels (uint8 RGB) -> the file and the ground truth (uint8, H x W x C).
        sampling: of which standard tables 'share' compares with, or ''.
    """

    family: str
    label: str
    make: Callable[[int, np.ndarray], tuple[bytes, np.ndarray]]
    sampling: str = ""

    @property
    def folder(self) -> str:
        """The name of the case in --write and --peer."""
        return f"{self.family} {self.label}".replace(":", "").replace(" ", "_").replace(",", "")


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(prog="real_jpegs.py", description=__doc__.split("\n")[0])
    parser.add_argument("--gtdata", default="LIVE1", help="data set or folder, as for eval.py")
    parser.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=PATH[,PATH]", help="colour and gray")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER", help="another method's results")
    parser.add_argument("--write", default="", metavar="FOLDER", help="write the files and measure nothing")
    parser.add_argument("--crop", type=params().number(int, 64), help="take the middle of each picture alone, pixels")
    parser.add_argument("--images", type=params().number(int, 1), help="take the first ones alone")
    parser.add_argument("--families", nargs="+", default=[], metavar="NAME", help="rows of these families alone")
    parser.add_argument("--json", default="", metavar="FILE", help="write all gains")
    options = parser.parse_args(argv)

    from evaluation import find_images
    from restorer import Restorer
    from utils.image import load_image

    files, _ = find_images(options.gtdata, options.dataroot)
    pictures = [middle(load_image(file, "RGB"), options.crop) for file in files[: options.images]]
    names = [file.stem for file in files[: options.images]]
    chosen = [case for case in cases() if not options.families or case.family in options.families]
    if options.write:
        for case in chosen:
            for place, (name, picture) in enumerate(zip(names, pictures, strict=True)):
                target = Path(options.write, case.folder, f"{name}.jpg")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(case.make(place, picture)[0])
        return 0
    methods = {}
    for text in options.model or ["shipped="]:
        name, _, paths = text.partition("=")
        methods[name] = Restorer(paths.split(",") if paths else None)
    for text in options.peer:
        name, _, folder = text.partition("=")
        methods[name] = Path(folder)
    results = {case: measure(case, pictures, names, methods) for case in chosen}
    rows = [row(case, results, list(methods)) for case in chosen]
    header = ["tables", "", "JPEG, dB"]
    header += [part for name in methods for part in (f"{name}, gain", "share")]
    print_table(header, rows)
    if options.json:
        content = {f"{case.family} {case.label}": found for case, found in results.items()}
        Path(options.json).write_text(json.dumps(content, indent=1))
    return 0


def cases() -> Iterator[Case]:
    """All rows, standard tables first."""
    from jpeg.tables import standard_tables, tables_in_files

    for sampling, qualities in STANDARD.items():
        for quality in qualities:
            tables = standard_tables(quality)
            yield Case("standard", f"{sampling}, {quality}", colour(lambda _, t=tables: t, sampling), sampling)
    for sampling in ("4:2:0", "4:4:4"):
        for quality in ROBIDOUX:
            tables = scaled(np.stack([ROBIDOUX_TABLE] * 2), quality)
            yield Case("mozjpeg's default", f"{sampling}, {quality}", colour(lambda _, t=tables: t, sampling), sampling)
        for step in FLAT:
            tables = np.full((2, 8, 8), step)
            yield Case("flat", f"{sampling}, {step}", colour(lambda _, t=tables: t, sampling), sampling)
        for name, qualities, octaves in (("steep", STEEP, 4.5), ("falling", REVERSED, -1.5)):
            for quality in qualities:
                tables = sloped(octaves, quality)
                yield Case(name, f"{sampling}, {quality}", colour(lambda _, t=tables: t, sampling), sampling)
    groups: dict[str, list[np.ndarray]] = {}
    for entry in tables_in_files():
        if entry.chroma is not None:
            group = GROUPS.get(entry.maker, entry.maker if entry.maker in OWN_GROUP else "other makers")
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
        yield Case("text on white", f"gray, {quality}", text(quality, "L"))
        yield Case("text on white", f"colour, {quality}", text(quality, "RGB"))


def scaled(tables: np.ndarray, quality: int) -> np.ndarray:
    """Tables scaled to a quality as libjpeg does (jcparam.c, jpeg_quality_scaling), at most 255."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((tables.astype(int) * percent + 50) // 100, 1, 255)


def sloped(octaves: float, quality: int) -> np.ndarray:
    """One table for luma and chroma that rises by so many octaves from DC to the far corner, as strong as a quality."""
    from jpeg.tables import standard_tables

    rows, columns = np.mgrid[:8, :8] / 7
    shape = octaves * np.hypot(rows, columns) / np.sqrt(2)
    low = rows + columns <= 4 / 7
    shape += np.log2(standard_tables(quality)[0][low]).mean() - shape[low].mean()
    return np.clip(np.rint(2.0 ** np.stack([shape, shape])), 1, 255).astype(int)


def colour(tables: Callable[[int], np.ndarray], sampling: str):
    """Maker of colour files with the tables of each place."""
    from jpeg.codec import write_jpeg
    from utils.image import to_pillow

    return lambda place, picture: (write_jpeg(to_pillow(picture), np.minimum(tables(place), 255), sampling), picture)


def gray(quality: int, *, full: bool):
    """Maker of gray files, of Y on 0..255 or MATLAB's Y."""
    from dataset.degradation import luma
    from jpeg.codec import write_jpeg
    from jpeg.tables import standard_tables
    from utils.image import luminance, to_pillow

    def make(_place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        truth = luma(picture) if full else luminance(picture)[..., None]
        return write_jpeg(to_pillow(truth), standard_tables(quality)[:1]), truth

    return make


def no_colour(quality: int):
    """Maker of colour files of R = G = B."""
    from dataset.degradation import luma
    from jpeg.codec import write_jpeg
    from jpeg.tables import standard_tables
    from utils.image import to_pillow

    def make(_place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        truth = np.repeat(luma(picture), 3, 2)
        return write_jpeg(to_pillow(truth), standard_tables(quality)), truth

    return make


def text(quality: int, mode: str):
    """Maker of pages: black text on white, the name of the place and words of this file, half of each page empty."""
    from PIL import Image, ImageDraw, ImageFont

    from jpeg.codec import write_jpeg
    from jpeg.tables import standard_tables

    def make(place: int, picture: np.ndarray) -> tuple[bytes, np.ndarray]:
        page = Image.new(mode, (picture.shape[1], picture.shape[0]), "white")
        lines = [line for line in __doc__.splitlines() if line]
        content = "\n".join(lines[place % len(lines) :] + lines)
        area = page.crop((0, 0, page.width, page.height // 2))
        ImageDraw.Draw(area).multiline_text((8, 8), content, fill="black", font=ImageFont.load_default(10 + place % 9))
        page.paste(area, (0, 0))
        truth = np.asarray(page).reshape(page.height, page.width, -1)
        return write_jpeg(page, standard_tables(quality)[: 1 if mode == "L" else 2]), truth

    return make


def middle(picture: np.ndarray, side: int | None) -> np.ndarray:
    """The middle of a picture, at most ``side`` pixels high and wide; the whole of it without."""
    if not side:
        return picture
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def measure(case: Case, pictures, names, methods) -> dict[str, list[float]]:
    """'JPEG' -> PSNR of each picture's file, and each method -> its gains; for white pages the darkest white, too."""
    from PIL import Image

    from utils.image import load_image
    from utils.metric import psnr

    found: dict[str, list[float]] = {name: [] for name in ("JPEG", *methods)}
    for place, picture in enumerate(pictures):
        stream, truth = case.make(place, picture)
        decoded = np.asarray(Image.open(BytesIO(stream))).reshape(truth.shape)
        before = psnr(decoded, truth)
        found["JPEG"].append(before)
        for name, method in methods.items():
            if isinstance(method, Path):
                mode = "L" if truth.shape[2] == 1 else "RGB"
                restored = load_image(method / case.folder / f"{names[place]}.png", mode)
            else:
                restored = method.restore_picture(stream).pixels
            found[name].append(psnr(restored, truth) - before)
            if case.family == "text on white":
                found.setdefault(f"{name}: darkest white", []).append(int(restored[-picture.shape[0] // 4 :].min()))
            if case.family == "R = G = B":
                found.setdefault(f"{name}: coloured", []).append(int(np.ptp(restored, axis=2).max()))
    return found


def row(case: Case, results, methods: list[str]) -> list[object]:
    """The cells of a case."""
    found = results[case]
    cells = [case.family, case.label, f"{np.mean(found['JPEG']):.1f}"]
    for name in methods:
        gains = found[name]
        cell = f"{np.mean(gains):+.2f} ({min(gains):+.2f})"
        if whites := found.get(f"{name}: darkest white"):
            cell += f", white {min(whites)}"
        if apart := found.get(f"{name}: coloured"):
            cell += f", R, G, B apart {max(apart)}"
        cells.append(cell)
        cells.append(share(case, results, name))
    return cells


def share(case: Case, results, name: str) -> str:
    """Mean gain as a share of that of standard tables of the same sampling, picture by picture at the same PSNR."""
    curves = [
        found for other, found in results.items() if (other.family, other.sampling) == ("standard", case.sampling)
    ]
    if case.family == "standard" or not curves:
        return ""
    wanted = [
        np.interp(before, *zip(*sorted((c["JPEG"][place], c[name][place]) for c in curves), strict=True))
        for place, before in enumerate(results[case]["JPEG"])
    ]
    return f"{np.mean(results[case][name]) / np.mean(wanted):.2f}"


if __name__ == "__main__":
    sys.exit(run(main))
