"""The optional package jpeglib, which carries many versions of libjpeg."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from qgcn.utils.errors import UserError

_LOCK = threading.Lock()


def require_jpeglib(purpose: str) -> ModuleType:
    """jpeglib; raises UserError with ``purpose``, the option that takes it, if it is not installed."""
    try:
        import jpeglib
    except ImportError:
        raise UserError(f"{purpose} takes the optional package jpeglib: pip install jpeglib") from None
    return jpeglib


@contextmanager
def libjpeg(version: str) -> Iterator[ModuleType]:
    """jpeglib switched to a version of libjpeg, for one thread at a time and without what it prints.

    The switch is the process's, and what it reads passes through global variables, hence the lock.
    """
    import jpeglib

    with _LOCK, _quiet_standard_error():
        if jpeglib.version.get() != version:
            jpeglib.version.set(version)
        yield jpeglib


@contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Keep what the C library prints off the terminal; what other threads print meanwhile is lost, too."""
    try:
        saved = os.dup(2)
    except OSError:  # closed: nothing can be printed
        yield
        return
    if sys.stderr:
        sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
