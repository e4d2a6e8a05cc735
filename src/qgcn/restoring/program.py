"""The program src/restore.py: its options checked, then one file, many files or a stream restored."""

import os
import sys
import warnings
from argparse import Namespace
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from qgcn.restoring.files import restore_files
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.write import FORMATS, NAMES, Writing, write_picture
from qgcn.utils import distributed
from qgcn.utils.errors import UserError, check_choice
from qgcn.utils.files import atomic_write

DEFAULT_OUTPUT = Path("results") / "restored"
STREAM = "-"  # the name of standard input and output
RESTORER_ARGUMENTS = (
    *("backend", "precision", "int8", "memory", "strength", "self_ensemble", "project"),
    *("quality", "estimate", "tolerant", "max_megapixels"),
)
"""Options that are a `Restorer`'s arguments of the same names."""


def main(options: Namespace) -> int:
    """Restore as params.restore_parser's options say; returns the exit code.

    Raises:
        UserError: if options contradict each other, or nothing could be begun.
    """
    if options.overwrite and options.resume:
        raise UserError("--resume keeps what exists and --overwrite replaces it: give one of them")
    if STREAM in options.inputs and len(options.inputs) > 1:
        raise UserError("standard input (-) is restored alone: give it without other inputs")
    source = options.inputs[0]
    output = options.output or (STREAM if source == STREAM else "")
    single = len(options.inputs) == 1 and (source == STREAM or (os.path.lexists(source) and not Path(source).is_dir()))
    if output == STREAM and not single:
        raise UserError("standard output (-o -) takes one file: give a folder for several")
    names_folder = Path(output).is_dir() or output.endswith(("/", os.sep))
    if source == STREAM and names_folder:
        raise UserError(f"the output {output!r} is a folder, and standard input has no name: give a file")
    names_file = Path(output).suffix.lower() in FORMATS and not names_folder
    if not single and names_file and all(map(os.path.lexists, options.inputs)):  # a missing input is told first
        remedy = "a folder is needed for several: end it in / if it is one"
        raise UserError(f"the output {output!r} names one file, but {remedy}")
    to_file = single and output not in ("", STREAM) and not names_folder
    writing = _writing(options, to_file)
    Image.MAX_IMAGE_PIXELS = None  # the limit on the size is --max_megapixels
    warnings.filterwarnings("ignore", module="PIL")  # what it thinks of damaged metadata, which is passed on unread
    device = distributed.choose_device(options.cuda, options.gpus)
    distributed.start(device)
    try:
        arguments = {name: getattr(options, name) for name in RESTORER_ARGUMENTS}
        restorer = Restorer(options.model, device=device, **arguments)
        if options.jobs > 1:
            torch.set_num_threads(max(1, torch.get_num_threads() // options.jobs))
        if STREAM in (source, output):
            return restore_stream(restorer, writing, source, output, overwrite=options.overwrite)
        target, again = Path(output or DEFAULT_OUTPUT), {"overwrite": options.overwrite, "resume": options.resume}
        return restore_files(
            options.inputs, target, restorer, folder=not to_file, writing=writing, jobs=options.jobs, **again
        )
    finally:
        distributed.stop()


def _writing(options: Namespace, to_file: bool) -> Writing:
    """How the options say that outputs are written; raises UserError where they contradict each other."""
    form = FORMATS[f".{check_choice(options.format.lower() or 'png', NAMES, '--format')}"]
    if to_file:
        asked, form = form, FORMATS.get(Path(options.output).suffix.lower())
        if not form:
            raise UserError(f"the output {options.output!r} does not end in one of {', '.join(FORMATS)}")
        if options.format and asked != form:
            raise UserError(f"--format {options.format} is not what {options.output!r} ends in: give one of them")
    if options.depth == 16 and form != "PNG":
        raise UserError(f"--depth 16 takes PNG, not {form}")
    if options.out_quality and form != "JPEG":
        asked = f"--out_quality {options.out_quality}"
        raise UserError(f"{asked} is of JPEG outputs, not {form}: give --format jpg or none")
    return Writing(form, options.depth, options.out_quality or Writing().quality)


def restore_stream(restorer: Restorer, writing: Writing, source: str, output: str, *, overwrite: bool) -> int:
    """Restore standard input (``source`` '-') to a file, or either to standard output (``output`` '-'); returns 0."""
    if output != STREAM and Path(output).exists():
        if not overwrite:
            raise UserError(f"the output {output!r} exists: give another -o or --overwrite")
        if os.path.samefile(0, output):  # 0: the descriptor of standard input
            raise UserError(f"the output {output!r} is the file that standard input reads: give another -o")
    content: Path | bytes = Path(source)
    if source == STREAM:
        limit = restorer.max_bytes
        content = sys.stdin.buffer.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"standard input holds more than {limit / 1e6:.0f} MB: --max_megapixels lifts the limit")
    picture = restorer.restore_picture(content, dtype=writing.dtype)
    if picture.warning:
        print(f"warning: {picture.warning}", file=sys.stderr)
    stream = BytesIO()
    try:
        write_picture(stream, picture, writing)
    except ValueError as error:
        raise UserError(f"the picture was not restored: {error}") from None
    if output == STREAM:
        sys.stdout.buffer.write(stream.getbuffer())
        sys.stdout.buffer.flush()
    else:
        with atomic_write(output) as file:
            file.write(stream.getbuffer())
    return 0
