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
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from real_cases import Case, cases
from side_by_side import print_table

from program import params, run


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
    from utils.errors import UserError
    from utils.image import load_image

    files, _ = find_images(options.gtdata, options.dataroot)
    pictures = [middle(load_image(file, "RGB"), options.crop) for file in files[: options.images]]
    names = [file.stem for file in files[: options.images]]
    chosen = [case for case in cases() if not options.families or case.family in options.families]
    known = sorted({case.family for case in cases()})
    if unknown := set(options.families) - set(known):
        raise UserError(f"--families {', '.join(sorted(unknown))}: unknown, choose from {', '.join(known)}")
    if options.write:
        for case in chosen:
            for place, (name, picture) in enumerate(zip(names, pictures, strict=True)):
                target = Path(options.write, case.folder, f"{name}.jpg")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(case.make(place, picture)[0])
        return 0
    methods: dict[str, Restorer | Path] = {}
    for name, paths in named(options.model, "--model"):
        methods[name] = Restorer(paths.split(","))
    for name, folder in named(options.peer, "--peer"):
        methods[name] = Path(folder)
    methods = methods or {"shipped": Restorer()}
    header = ["tables", "", "JPEG, dB", *(part for name in methods for part in (f"{name}, gain", "share"))]
    print_table(header, [])
    results = {}
    for case in chosen:
        results[case] = measure(case, pictures, names, methods)
        print("| " + " | ".join(row(case, results, list(methods))) + " |", flush=True)
    if options.json:
        content = {f"{case.family} {case.label}": found for case, found in results.items()}
        Path(options.json).write_text(json.dumps(content, indent=1))
    return 0


def named(words: list[str], option: str) -> Iterator[tuple[str, str]]:
    """NAME=PATH words in two; raises UserError for other forms."""
    from utils.errors import UserError

    for word in words:
        name, _, path = word.partition("=")
        if not name or not path:
            raise UserError(f"{option} {word!r} is not of the form NAME=PATH")
        yield name, path


def middle(picture: np.ndarray, side: int | None) -> np.ndarray:
    """The middle of a picture, at most ``side`` pixels high and wide; the whole of it without."""
    if not side:
        return picture
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def measure(case: Case, pictures, names, methods) -> dict[str, list[float]]:
    """'JPEG' -> PSNR of each picture's file, and each method -> its gains; for white pages the darkest white, too."""
    from PIL import Image

    from utils.errors import UserError
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
                file = method / case.folder / f"{names[place]}.png"
                restored = load_image(file, mode)
                if restored.shape != truth.shape:
                    raise UserError(f"{str(file)!r} has {restored.shape[:2]} pixels where {truth.shape[:2]} are wanted")
            else:
                restored = method.restore_picture(stream).pixels
            found[name].append(psnr(restored, truth) - before)
            if case.family == "text on white":
                empty = restored[-picture.shape[0] // 4 :]
                found.setdefault(f"{name}: darkest white", []).append(int(empty.min()))
            if case.family == "R = G = B":
                found.setdefault(f"{name}: coloured", []).append(int(np.ptp(restored, axis=2).max()))
    return found


def row(case: Case, results, methods: list[str]) -> list[str]:
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
