"""Files and folders to restore: what is found in them, where the results go, and the batch itself."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from qgcn.restoring.restorer import Restorer
from qgcn.restoring.write import FORMATS, Writing, write_picture
from qgcn.utils import distributed
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write, check_writable, identity
from qgcn.utils.image import JPEG_SUFFIXES, SUFFIXES, output_names, sorted_out

NAMED = 5  # files that are left alone of which the names are told


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
        results: files of either kind in folders that lie in the output folder.
    """

    files: list[tuple[Path, Path]]
    others: list[Path]
    results: list[Path]


def find_inputs(inputs: Sequence[str], *, any_format: bool = False, output: Path | None = None) -> Found:
    """The files of ``inputs``, which are files and folders.

    Args:
        any_format: look in folders not only for JPEGs but for whatever else Pillow reads.
        output: the output folder. Where it lies within an input, what is in it are results.

    Raises:
        UserError: if an input is missing, or a folder can't be read or holds nothing to restore.
    """
    found = Found([], [], [])
    for text in inputs:
        path = Path(text)
        if not os.path.lexists(path):
            pattern = ": give its folder, or the pattern without quotes for the shell to expand"
            raise UserError(f"the input {text!r} does not exist" + (pattern if set("*?[") & set(text) else ""))
        if not path.is_dir():
            found.files.append((path, Path(path.name)))
            continue
        images, others = sorted_out(path, SUFFIXES if any_format else JPEG_SUFFIXES)
        if output and _lies_in(output, path):
            results = {file for file in (*images, *others) if _lies_in(file, output)}
            found.results.extend(results)
            images, others = ([file for file in files if file not in results] for files in (images, others))
            if not images:
                raise UserError(f"the input {text!r} holds nothing but the output {str(output)!r}")
        found.files.extend((file, file.relative_to(path)) for file in images)
        found.others.extend(others)
    return Found(*(list(dict.fromkeys(files)) for files in found))


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether ``path``, be it there or not, is below ``folder``, wherever links lead."""
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def plan_outputs(
    found: Sequence[tuple[Path, Path]], output: Path, *, folder: bool, suffix: str, overwrite: bool, resume: bool
) -> tuple[list[tuple[Path, Path]], int]:
    """Which file is written where, and how many are left out because they are done.

    Args:
        found: the files of `find_inputs`.
        output: the file to write, or the folder for all of them where ``folder`` is set.
        suffix: of the files in that folder.

    Raises:
        UserError: if two inputs have one output, or an output is an input, or exists and neither ``overwrite`` nor
            ``resume`` is set.
    """
    if folder and output.exists() and not output.is_dir():
        remedy = "a folder for the outputs is needed: give another -o"
        raise UserError(f"the output {str(output)!r} is a file, where {remedy}")
    paths, places = zip(*found, strict=True)
    names = output_names(places, suffix, paths) if folder else [Path()]
    targets = [(path, output / name) for path, name in zip(paths, names, strict=True)]
    sources = {identity(path) for path in paths}
    for _, target in targets:
        if identity(target) in sources:
            raise UserError(f"the output {str(target)!r} is an input: give another -o")
        if target.exists() and not (overwrite or resume):
            raise UserError(f"the output {str(target)!r} exists: give another -o, --overwrite or --resume")
    left = [(path, target) for path, target in targets if not (resume and target.exists())]
    return left, len(targets) - len(left)


def restore_file(path: Path, target: Path, restorer: Restorer, writing: Writing, stop: threading.Event) -> Outcome:
    """Restore one file, unless ``stop`` is set before it is to be written."""
    try:
        picture = restorer.restore_picture(path, dtype=writing.dtype)
        if stop.is_set():
            return Outcome(error=f"{str(path)!r} was interrupted")
        with atomic_write(target) as file:
            write_picture(file, picture, writing)
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


def _outcomes(tasks: Sequence[tuple[Path, Path]], jobs: int, restorer: Restorer, writing: Writing) -> Iterator[Outcome]:
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


def restore_files(
    inputs: Sequence[str],
    output: Path,
    restorer: Restorer,
    *,
    folder: bool = True,
    writing: Writing | None = None,
    overwrite: bool = False,
    resume: bool = False,
    jobs: int = 1,
) -> int:
    """Restore files; one that fails is named and the others go on. Several processes share them.

    Args:
        inputs: files and folders; a folder's tree is mirrored.
        output: the file to write, or the folder for them where ``folder`` is set.
        writing: how (default: PNG).
        overwrite: replace outputs that exist; an input is never replaced.
        resume: skip inputs whose output exists.
        jobs: threads.

    Returns:
        0, or 1 if any file failed.

    Raises:
        UserError: if nothing was begun: an input is missing, or an output in the way.
    """
    writing = writing or Writing()
    suffix = next(suffix for suffix, form in FORMATS.items() if form == writing.form)
    any_format = restorer.quality is not None or restorer.estimate
    found = find_inputs(inputs, any_format=any_format, output=output if folder else None)
    tasks, skipped = plan_outputs(found.files, output, folder=folder, suffix=suffix, overwrite=overwrite, resume=resume)
    for _, target in tasks[:1]:
        check_writable(target)
    distributed.barrier()  # all have looked what exists before the first one writes
    start = time.perf_counter()
    own = tasks[distributed.rank() :: distributed.world()]
    done, megapixels = [], 0.0
    with (
        closing(_outcomes(own, jobs, restorer, writing)) as outcomes,
        tqdm(total=len(own), desc="restoring", unit="image", leave=False, disable=len(own) < 2) as bar,
    ):
        for outcome in outcomes:
            done.append(outcome)
            megapixels += outcome.megapixels
            bar.set_postfix_str(f"{megapixels / (time.perf_counter() - start):.2f} megapixels/s", refresh=False)
            bar.update()
    done = distributed.gather(done)
    failures = [outcome.error for outcome in done if outcome.error]
    if distributed.rank() == 0:
        notes = []
        if found.others:
            names = ", ".join(map(str, found.others[:NAMED])) + (", ..." if len(found.others) > NAMED else "")
            notes.append(f"{len(found.others)} files were left alone, by their names no images to restore: {names}")
        if found.results:
            notes.append(f"{len(found.results)} files in {str(output)!r} were taken for results")
        warnings = [outcome.warning for outcome in done if outcome.warning]
        for kind, sentences in {"note": notes, "warning": warnings, "error": failures}.items():
            print(*(f"{kind}: {sentence}\n" for sentence in sentences), sep="", end="", file=sys.stderr)
        seconds, megapixels = time.perf_counter() - start, sum(outcome.megapixels for outcome in done)
        print(
            f"restored {len(done) - len(failures)} of {len(found.files)} files ({skipped} skipped, {len(failures)} "
            f"failed) with {restorer.title} to {str(output)!r}: "
            f"{megapixels:.1f} megapixels in {seconds:.1f} s, {megapixels / seconds:.2f} megapixels/s"
        )
    return 1 if failures else 0
