"""Files that are either whole or not there."""

import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from utils.errors import UserError


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
        except BaseException:
            os.unlink(temporary)
            raise


def _temporary(path: Path) -> Path:
    """A new, empty file beside ``path``, whose folders are made; an OSError names ``path``."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
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
    if path.exists() and any(path.samefile(name) for name in inputs if os.path.exists(name)):
        raise UserError(f"the output {str(path)!r} is an input: give another name")
    check_writable(path)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode())
