"""Files that are either whole or not there."""

import errno
import importlib.util
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from qgcn.utils.errors import UserError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for writing bytes and rename it to ``path`` when the block ends well.

    Whatever goes wrong (an exception, a full disk, a kill) leaves an earlier ``path`` as it was.

    Raises:
        OSError: where the folder can't be written.
    """
    path = Path(path)
    temporary = _temporary(path)
    with open(temporary, "r+b") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            os.unlink(temporary)
            if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that were killed while they wrote into ``folder``."""
    for file in folder.glob(".*.tmp"):
        if re.fullmatch(r"\.[0-9a-f]{32}\.tmp", file.name):  # as `_temporary` names them
            file.unlink()


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes from locking ``folder``; where the system or the file system has no locks, do nothing.

    Raises:
        UserError: ``busy``, if another process holds the lock for three seconds, in which the workers of a killed one
            end.
    """
    if importlib.util.find_spec("fcntl") is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        give_up = time.monotonic() + 3
        while not _lock(handle):
            if time.monotonic() > give_up:
                raise UserError(busy)
            time.sleep(0.1)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open folder unless another process has; where there are no locks, it counts as locked."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def name_of(path: Path) -> str:
    """A path as text that can be printed and encoded, whatever bytes it is made of."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def _temporary(path: Path) -> Path:
    """A new, empty file beside ``path``, whose folders are made; an OSError names ``path``."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return temporary


def check_writable(path: str | Path) -> None:
    """Raise OSError now rather than after hours of work if a file can't be written at ``path``."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _temporary(path).unlink()


def check_output(path: str | Path, suffix: str, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse now, rather than after hours of work, an output that can't be written or that nobody can mean.

    Args:
        suffix: the one that the format of the output has.
        inputs: files that the output must not replace.

    Raises:
        UserError: if ``path`` has another suffix, or is an input.
        OSError: if it can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise UserError(f"the output {str(path)!r} does not end in {suffix}: give another name")
    if identity(path) in map(identity, inputs):
        raise UserError(f"the output {str(path)!r} is an input: give another name")
    check_writable(path)


def identity(path: str | Path) -> str | tuple[int, int]:
    """What two paths to one file have in common, be it there or not, and whatever the case of their letters."""
    try:
        status = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode())
