"""Restore a person's own JPEG files and folders, with the quantization tables that the files carry."""

import sys
from collections.abc import Sequence
from pathlib import Path

from program import params, run
from utils.errors import UserError

DEFAULT_OUTPUT = Path("results") / "restored"


def find_inputs(inputs: Sequence[str]) -> list[tuple[Path, Path]]:
    """The JPEG files of ``inputs`` (files and folders), each with its place in an output folder."""
    from utils.image import JPEG_SUFFIXES, image_files

    found = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found += [(file, file.relative_to(path)) for file in image_files(path, JPEG_SUFFIXES)]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise UserError(f"the input {text!r} does not exist")
    return found


def read_jpeg(path: Path, channels: int):
    """A JPEG file as the network of ``channels`` image channels takes it (jpeg.codec.Compressed).

    A gray file given to a colour network counts as colour with its one table for both. A colour file can't go
    through a gray network. Raises UserError naming the file and the reason.
    """
    import numpy as np

    from jpeg.codec import Compressed
    from jpeg.tables import open_jpeg, quantization_tables

    try:
        with open_jpeg(path) as image:
            tables = quantization_tables(image)
            if channels == 1 and image.mode != "L":
                raise ValueError("it is in colour and the checkpoint restores gray only")
            pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{str(path)!r} can't be restored: {error}") from None
    if channels == 3 and len(tables) == 1:
        tables = np.concatenate([tables, tables])
    return Compressed(pixels.reshape(*pixels.shape[:2], channels), tables)


def restore_files(inputs: Sequence[str], output: Path, model, *, folder: bool, overwrite: bool) -> int:
    """Restore JPEGs to PNGs; a file that fails is named and the others go on.

    Args:
        inputs: files and folders; a folder's tree is mirrored.
        output: the PNG to write, or the folder for them where ``folder`` is set.
        model: a model.Model.
        overwrite: replace outputs that exist; an input is never replaced.

    Returns:
        0, or 1 if any file failed.
    """
    from tqdm import tqdm

    from engine import to_bytes
    from utils import distributed
    from utils.image import output_names, save_png

    found = find_inputs(inputs)
    names = output_names([place for _, place in found], ".png")
    targets = [(path, output / name if folder else output) for (path, _), name in zip(found, names, strict=True)]
    sources = {path.resolve() for path, _ in targets}
    for _, target in targets:
        if target.resolve() in sources:
            raise UserError(f"the output {str(target)!r} is an input: give another -o")
        if target.exists() and not overwrite:
            raise UserError(f"the output {str(target)!r} exists: give another -o or --overwrite")
    mine = targets[distributed.rank() :: distributed.world()]
    failures = []
    for path, target in tqdm(mine, "restoring", unit="image", leave=False, disable=len(mine) < 2):
        try:
            compressed = read_jpeg(path, model.channels)
        except UserError as error:
            failures.append(str(error))
            continue
        save_png(target, to_bytes(model.restore(compressed)))
    failures = distributed.gather(failures)
    if distributed.rank() == 0:
        for sentence in failures:
            print(f"error: {sentence}", file=sys.stderr)
        done = len(targets) - len(failures)
        print(f"restored {done} of {len(targets)} files with {model.title} to {output}")
    return 1 if failures else 0


def main(argv: list[str] | None = None) -> int:
    """Restore as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().restore_parser().parse_args(argv)

    from model import load_model, shipped_checkpoint
    from utils import distributed

    single = len(options.inputs) == 1 and Path(options.inputs[0]).is_file()
    named = Path(options.output) if options.output else DEFAULT_OUTPUT
    to_file = single and bool(options.output) and not named.is_dir()
    if to_file and named.suffix.lower() != ".png":
        raise UserError(f"the output {options.output!r} does not end in .png: restored images are written as PNG")
    device = distributed.choose_device(options.cuda, options.gpus)
    distributed.start(device)
    try:
        model = load_model(options.model or shipped_checkpoint("RGB"), device)
        return restore_files(options.inputs, named, model, folder=not to_file, overwrite=options.overwrite)
    finally:
        distributed.stop()


if __name__ == "__main__":
    sys.exit(run(main))
