"""Files that are either whole or not there."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for writing bytes and rename it to ``path`` when the block ends well.

    Whatever goes wrong (an exception, a full disk, a kill) leaves an earlier ``path`` as it was.

    Raises:
        OSError: where the folder can't be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    with open(temporary, "xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def check_writable(path: str | Path) -> None:
    """Raise OSError now rather than after hours of work if a file can't be written at ``path``."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    probe = path.parent / f".{uuid.uuid4().hex}.tmp"
    probe.touch()
    probe.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with atomic_write(path) as file:
        file.write(text.encode())
