"""Restore anybody's JPEG files: any file, any folder, with the quantization tables that they carry.

As a library: ``from restore import Restorer`` (restorer.Restorer).
"""

import glob
import itertools
import os
import sys
import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from qgcn.utils.errors import UserError, check_choice

DEFAULT_OUTPUT = Path("results") / "restored"
SHOWN = 5
"""Files that are left alone of which the names are told."""
STREAM = "-"
"""The name of standard input and output."""
STANDARD_INPUT = 0
"""Its file descriptor."""


class Writing(NamedTuple):
    """How outputs are written: ``form``, a value of output.FORMATS, ``depth`` 8 or 16, ``quality`` of JPEGs."""

    form: str = "PNG"
    depth: int = 8
    quality: int = 95

    @property
    def dtype(self) -> type:
        """The type of the pixels that are written."""
        import numpy as np

        return np.uint16 if self.depth == 16 else np.uint8


class Outcome(NamedTuple):
    """What became of one file.

    Attributes:
        megapixels: restored; 0 where it failed.
        error: the reason for which it failed, or ''.
        warning: what its user should know, or ''.
    """

    megapixels: float = 0.0
    error: str = ""
    warning: str = ""


class Found(NamedTuple):
    """The files that inputs stand for.

    Attributes:
        files: each with its place in an output folder.
        others: files in folders that are none to restore by their names.
        results: files of either kind in folders and patterns that lie in the output folder.
    """

    files: list[tuple[Path, Path]]
    others: list[Path]
    results: list[Path]


def takes_any_format(quality: int | None, estimate: bool) -> bool:
    """Whether a `Restorer` with these options restores pictures without tables of their own."""
    return quality is not None or estimate


def find_inputs(inputs: Sequence[str], *, any_format: bool = False, output: Path | None = None) -> Found:
    """The files of ``inputs`` (files, folders, patterns).

    Args:
        any_format: look in folders not only for JPEGs but for whatever else Pillow reads.
        output: the output folder. Where it lies within an input, what is in it are results.
    """
    from qgcn.utils.image import JPEG_SUFFIXES, SUFFIXES, files_below, sorted_out

    found, others, results = [], [], []
    for text in inputs:
        path = Path(text)
        if path.exists() or path.is_symlink():
            matches, root = [path], path if path.is_dir() else path.parent
        else:
            matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
            plain = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
            root = Path(*plain)  # the folder whose tree the pattern picks from
            if "**" in path.parts:
                trees = Path(*path.parts[: path.parts.index("**")])
                for folder in glob.glob(os.path.join(trees, "")):  # with the slash: folders alone
                    files_below(folder)  # says what can't be read: glob passes over it without a word
        if not matches:
            raise UserError(f"the input {text!r} does not exist")
        place = _resolved(output) if output else None
        may_hold_results = place and (matches != [path] or path.is_dir()) and _resolved(root) in place.parents
        before = len(found)
        for match in matches:
            files, rest = [match], []
            if match.is_dir():
                files, rest = sorted_out(match, SUFFIXES if any_format else JPEG_SUFFIXES)
            if may_hold_results:
                results += [file for file in (*files, *rest) if place in _resolved(file).parents]
                files, rest = (
                    [file for file in some if place not in _resolved(file).parents] for some in (files, rest)
                )
            found += [(file, file.relative_to(root)) for file in files]
            others += rest
        if len(found) == before:
            raise UserError(f"the input {text!r} holds nothing but the output {str(output)!r}")
    return Found(*(list(dict.fromkeys(some)) for some in (found, others, results)))


def plan_outputs(
    found: Sequence[tuple[Path, Path]], output: Path, *, folder: bool, suffix: str, overwrite: bool, resume: bool
) -> tuple[list[tuple[Path, Path]], int]:
    """Which file is written where, and how many are left out because they are done.

    Args:
        found: of `find_inputs`.
        output: the file to write, or the folder for all of them where ``folder`` is set.
        suffix: of the files in that folder.
        resume: leave out what exists.

    Raises:
        UserError: if an output is an input, or exists and neither ``overwrite`` nor ``resume`` is set; with
            ``resume``, if two inputs have the same place, whose results can't be told apart.
    """
    from qgcn.utils.image import output_names

    if resume:
        for place, number in Counter(place for _, place in found).items():
            if number > 1:
                raise UserError(
                    f"{number} inputs are called {str(place)!r}, so that --resume can't tell which are done: "
                    "give the folder that holds them, or a pattern in quotes"
                )

    if folder and output.exists() and not output.is_dir():
        raise UserError(
            f"the output {str(output)!r} is a file, where a folder for the outputs is needed: give another -o"
        )
    names = output_names([place for _, place in found], suffix)
    targets = [(path, output / name if folder else output) for (path, _), name in zip(found, names, strict=True)]
    sources = {_identity(path) for path, _ in targets}
    for _, target in targets:
        if _identity(target) in sources:
            raise UserError(f"the output {str(target)!r} is an input: give another -o")
        if target.exists() and not (overwrite or resume):
            raise UserError(f"the output {str(target)!r} exists: give another -o, --overwrite or --resume")
    left = [(path, target) for path, target in targets if not (resume and target.exists())]
    return left, len(targets) - len(left)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return path.absolute()


def _identity(path: Path) -> Path | tuple[int, int]:
    """What two paths to one file have in common, whatever the case of their letters; a path where there is none yet."""
    try:
        status = path.stat()
    except OSError:
        return _resolved(path)
    return status.st_dev, status.st_ino


def restore_file(path: Path, target: Path, restorer, writing: Writing, stop: threading.Event) -> Outcome:
    """Restore one file with a Restorer, unless ``stop`` is set before it is to be written."""
    from qgcn.restoring.write import write_picture
    from qgcn.utils.files import atomic_write

    try:
        picture = restorer.restore_picture(path, dtype=writing.dtype)
        if stop.is_set():
            return Outcome(error=f"{str(path)!r} was interrupted")
        with atomic_write(target) as file:
            write_picture(file, picture, writing.form, depth=writing.depth, quality=writing.quality)
    except UserError as error:
        return Outcome(error=str(error))
    except ValueError as error:
        return Outcome(error=f"{str(path)!r} was not restored: {error}")
    except OSError as error:
        return Outcome(error=f"{str(target)!r} can't be written: {error.strerror or error}")
    except MemoryError:
        return Outcome(error=f"{str(path)!r} takes more memory than there is")
    height, width = picture.pixels.shape[:2]
    return Outcome(height * width / 1e6, warning=f"{str(path)!r}: {picture.warning}" if picture.warning else "")


def _outcomes(tasks: Sequence[tuple[Path, Path]], jobs: int, restorer, writing: Writing) -> Iterator[Outcome]:
    """The outcome of every file, as they are done; closing it early leaves no file half written."""
    stop = threading.Event()
    if jobs == 1:
        for path, target in tasks:
            yield restore_file(path, target, restorer, writing, stop)
        return
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = [pool.submit(restore_file, path, target, restorer, writing, stop) for path, target in tasks]
        for future in as_completed(futures):
            yield future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _shown(outcomes: Iterable[Outcome], count: int) -> list[Outcome]:
    """All outcomes, with a progress bar for more than one file."""
    from tqdm import tqdm

    done, megapixels, start = [], 0.0, time.perf_counter()
    with tqdm(total=count, desc="restoring", unit="image", leave=False, disable=count < 2) as bar:
        for outcome in outcomes:
            done.append(outcome)
            megapixels += outcome.megapixels
            bar.set_postfix_str(f"{megapixels / (time.perf_counter() - start):.2f} megapixels/s", refresh=False)
            bar.update()
    return done


def restore_files(
    inputs: Sequence[str],
    output: Path,
    restorer,
    *,
    folder: bool = True,
    writing: Writing | None = None,
    overwrite: bool = False,
    resume: bool = False,
    jobs: int = 1,
) -> int:
    """Restore files; one that fails is named and the others go on. Several processes share them.

    Args:
        inputs: files, folders and patterns; a folder's tree is mirrored.
        output: the file to write, or the folder for them where ``folder`` is set.
        restorer: a restorer.Restorer.
        overwrite: replace outputs that exist; an input is never replaced.
        resume: skip inputs whose output exists.
        jobs: threads.

    Returns:
        0, or 1 if any file failed.

    Raises:
        UserError: if nothing was begun: an input is missing, or an output in the way.
    """
    from qgcn.restoring.write import FORMATS
    from qgcn.utils import distributed
    from qgcn.utils.files import check_writable

    writing = writing or Writing()
    suffix = next(suffix for suffix, form in FORMATS.items() if form == writing.form)
    found, others, results = find_inputs(
        inputs, any_format=takes_any_format(restorer.quality, restorer.estimate), output=output if folder else None
    )
    tasks, skipped = plan_outputs(found, output, folder=folder, suffix=suffix, overwrite=overwrite, resume=resume)
    for _, target in tasks[:1]:
        check_writable(target)
    distributed.barrier()  # all have looked what exists before the first one writes
    start = time.perf_counter()
    mine = tasks[distributed.rank() :: distributed.world()]
    with closing(_outcomes(mine, jobs, restorer, writing)) as outcomes:
        done = distributed.gather(_shown(outcomes, len(mine)))
    failures = [outcome.error for outcome in done if outcome.error]
    if distributed.rank() == 0:
        if others:
            shown = ", ".join(map(str, others[:SHOWN])) + (", ..." if len(others) > SHOWN else "")
            print(
                f"note: {len(others)} files were left alone, by their names no images to restore: {shown}",
                file=sys.stderr,
            )
        if results:
            print(f"note: {len(results)} files in {str(output)!r} were taken for results", file=sys.stderr)
        for sentence in (outcome.warning for outcome in done if outcome.warning):
            print(f"warning: {sentence}", file=sys.stderr)
        for sentence in failures:
            print(f"error: {sentence}", file=sys.stderr)
        seconds = time.perf_counter() - start
        megapixels = sum(outcome.megapixels for outcome in done)
        print(
            f"restored {len(done) - len(failures)} of {len(found)} files ({skipped} skipped, {len(failures)} failed) "
            f"with {restorer.title} to {str(output)!r}: "
            f"{megapixels:.1f} megapixels in {seconds:.1f} s, {megapixels / seconds:.2f} megapixels/s"
        )
    return 1 if failures else 0


def restore_stream(restorer, writing: Writing, source: str, output: str, *, overwrite: bool) -> int:
    """Restore one file or standard input (``source`` '-') to a file or standard output (``output`` '-')."""
    from qgcn.restoring.restorer import BYTES_A_PIXEL
    from qgcn.restoring.write import write_picture
    from qgcn.utils.files import atomic_write

    target = Path(output)
    if output != STREAM and target.exists() and not overwrite:
        raise UserError(f"the output {output!r} exists: give another -o or --overwrite")
    if source == STREAM and output != STREAM and target.exists() and os.path.samefile(STANDARD_INPUT, target):
        raise UserError(f"the output {output!r} is the file that standard input reads: give another -o")
    content: Path | bytes = Path(source)
    if source == STREAM:
        limit = int(restorer.max_megapixels * 1e6 * BYTES_A_PIXEL)
        content = sys.stdin.buffer.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"standard input holds more than {limit / 1e6:.0f} MB: --max_megapixels lifts the limit")
    picture = restorer.restore_picture(content, dtype=writing.dtype)
    if picture.warning:
        print(f"warning: {picture.warning}", file=sys.stderr)
    stream = BytesIO()
    try:
        write_picture(stream, picture, writing.form, depth=writing.depth, quality=writing.quality)
    except ValueError as error:
        raise UserError(f"the picture was not restored: {error}") from None
    if output == STREAM:
        sys.stdout.buffer.write(stream.getbuffer())
        sys.stdout.buffer.flush()
    else:
        with atomic_write(target) as file:
            file.write(stream.getbuffer())
    return 0


def _writing(options: Namespace, to_file: bool) -> Writing:
    """How the options say that outputs are written.

    Raises:
        UserError: for an unknown format, or one without 16 bits where those are asked for.
    """
    from qgcn.restoring.write import FORMATS, NAMES, output_format

    form = FORMATS[f".{check_choice(options.format.lower() or 'png', NAMES, '--format')}"]
    if to_file:
        asked, form = form, output_format(options.output)
        if options.format and asked != form:
            raise UserError(f"--format {options.format} is not what {options.output!r} ends in: give one of them")
    if options.depth == 16 and form != "PNG":
        raise UserError(f"--depth 16 takes PNG, not {form}")
    if options.out_quality and form != "JPEG":
        raise UserError(
            f"--out_quality {options.out_quality} is of JPEG outputs, not {form}: give --format jpg or none"
        )
    return Writing(form, options.depth, options.out_quality or Writing().quality)


def main(options: Namespace) -> int:
    """Restore as params.restore_parser's options say; returns the exit code."""
    import warnings

    import torch
    from PIL import Image

    from qgcn.restoring.restorer import Restorer
    from qgcn.restoring.write import FORMATS
    from qgcn.utils import distributed

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
    to_file = single and output not in ("", STREAM) and not names_folder
    if not single and Path(output).suffix.lower() in FORMATS and not names_folder:
        any_format = takes_any_format(options.quality, options.estimate)
        find_inputs(options.inputs, any_format=any_format)  # one that is missing is what is wrong
        raise UserError(
            f"the output {output!r} names one file, but a folder is needed for several: end it in / if it is one"
        )
    writing = _writing(options, to_file)
    Image.MAX_IMAGE_PIXELS = None  # the limit on the size is --max_megapixels
    warnings.filterwarnings("ignore", module="PIL")  # what it thinks of damaged metadata, which is passed on unread
    device = distributed.choose_device(options.cuda, options.gpus)
    distributed.start(device)
    try:
        restorer = Restorer(
            options.model,
            device=device,
            backend=options.backend,
            precision=options.precision,
            int8=options.int8,
            memory=options.memory,
            strength=options.strength,
            self_ensemble=options.self_ensemble,
            project=options.project,
            quality=options.quality,
            estimate=options.estimate,
            tolerant=options.tolerant,
            max_megapixels=options.max_megapixels,
        )
        if options.jobs > 1:
            torch.set_num_threads(max(1, torch.get_num_threads() // options.jobs))
        if source == STREAM or output == STREAM:
            return restore_stream(restorer, writing, source, output, overwrite=options.overwrite)
        return restore_files(
            options.inputs,
            Path(output) if output else DEFAULT_OUTPUT,
            restorer,
            folder=not to_file,
            writing=writing,
            overwrite=options.overwrite,
            resume=options.resume,
            jobs=options.jobs,
        )
    finally:
        distributed.stop()
