"""What restoring gains on JPEGs as people have them: many tables, samplings and strengths, gray, white pages.

    python benchmarks/real_jpegs.py --model now=checkpoint/qcn_rgb.pth,checkpoint/qcn_gray.pth
    python benchmarks/real_jpegs.py --write jpegs/                  # the files, for another method to restore
    python benchmarks/real_jpegs.py --peer theirs=restored/         # restored/CASE/IMAGE.png

Each file goes through what restore.py does, its rules included. A cell is the mean gain in PSNR over the file as Pillow
decodes it, and the gain of the worst picture in brackets. For tables that are not standard, 'share' is the mean gain as
a share of what standard tables of the same sampling give the same pictures at the same PSNR of the JPEG; it stays empty
where that is less than 0.1 dB.
"""

import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from real_cases import Case, cases
from side_by_side import print_table

from qgcn.cli import params, run


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
    parser.add_argument(
        "--families", nargs="+", default=[], metavar="NAME", help="rows of these families alone (share takes standard)"
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write all gains")
    options = parser.parse_args(argv)

    from qgcn.evaluating.datasets import find_images
    from qgcn.restoring.restorer import Restorer
    from qgcn.utils.errors import UserError
    from qgcn.utils.image import load_image

    chosen = select(options.families)
    files = find_images(options.gtdata, options.dataroot)[0][: options.images]
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        raise UserError(f"{options.gtdata!r} holds pictures whose names differ in the ending alone: rename them")
    models, peers = named(options.model, "--model"), named(options.peer, "--peer")
    if options.write and (models or peers or options.json):
        raise UserError("--write measures nothing: leave --model, --peer and --json out")
    if twice := models.keys() & peers.keys():
        raise UserError(f"--peer {min(twice)!r}: the name is that of a --model, choose another")
    if options.json and (Path(options.json).is_dir() or not Path(options.json).absolute().parent.is_dir()):
        raise UserError(f"--json {options.json!r} is no file in a folder that exists: name one")
    methods: dict[str, Restorer | Path] = {}
    methods |= {name: results_of_a_peer(name, folder, chosen, names) for name, folder in peers.items()}
    methods |= {name: Restorer(paths.split(",")) for name, paths in models.items()}
    pictures = [middle(load_image(file, "RGB"), options.crop) for file in files]
    if options.write:
        for case in chosen:
            for place, (name, picture) in enumerate(zip(names, pictures, strict=True)):
                target = Path(options.write, case.folder, f"{name}.jpg")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(case.make(place, picture)[0])
        return 0
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


def select(families: list[str]) -> list[Case]:
    """The cases of some families, or of all; raises UserError for a name that none has."""
    from qgcn.utils.errors import UserError

    everything = list(cases())
    known = {case.family for case in everything}
    if unknown := set(families) - known:
        wrong, right = (", ".join(map(repr, sorted(names))) for names in (unknown, known))
        raise UserError(f"--families {wrong}: unknown, choose from {right}")
    return [case for case in everything if not families or case.family in families]


def results_of_a_peer(name: str, folder: str, chosen: list[Case], names: list[str]) -> Path:
    """The folder of another method's results; raises UserError if one of them is missing."""
    from qgcn.utils.errors import UserError

    wanted = [Path(folder, case.folder, f"{image}.png") for case in chosen for image in names]
    if missing := [str(file) for file in wanted if not file.is_file()]:
        raise UserError(
            f"--peer {name}={folder}: {len(missing)} of {len(wanted)} results do not exist, {missing[0]!r} for one: "
            "restore all that --write has written"
        )
    return Path(folder)


def named(words: list[str], option: str) -> dict[str, str]:
    """NAME=PATH words as a dictionary; raises UserError for other forms, and a name that comes twice."""
    from qgcn.utils.errors import UserError

    found: dict[str, str] = {}
    for word in words:
        name, _, path = word.partition("=")
        if not name or not path:
            raise UserError(f"{option} {word!r} is not of the form NAME=PATH")
        if name in found or name == "JPEG":
            raise UserError(f"{option} {word!r}: the name {name!r} is taken, choose another")
        found[name] = path
    return found


def middle(picture: np.ndarray, side: int | None) -> np.ndarray:
    """The middle of a picture, at most ``side`` pixels high and wide; the whole of it without."""
    if not side:
        return picture
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def measure(case: Case, pictures, names, methods) -> dict[str, list[float]]:
    """'JPEG' -> PSNR of each picture's file, and each method -> its gains; for white pages the darkest white, too."""
    from PIL import Image

    from qgcn.evaluating.metrics import psnr
    from qgcn.utils.errors import UserError
    from qgcn.utils.image import load_image

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
                    size, wanted = ("x".join(map(str, array.shape[1::-1])) for array in (restored, truth))
                    raise UserError(f"{str(file)!r} has {size} pixels, not {wanted}: restore what --write has written")
            else:
                restored = method.restore_picture(stream).pixels
            found[name].append(psnr(restored, truth) - before)
            if case.family == "text" and truth.shape[2] == 1:
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
    return f"{np.mean(results[case][name]) / np.mean(wanted):.2f}" if np.mean(wanted) >= 0.1 else ""


if __name__ == "__main__":
    sys.exit(run(main))
