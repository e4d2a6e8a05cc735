"""What backends share: the type of a runner, optional packages, and quiet."""

import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import ModuleType

import numpy as np

from utils.errors import UserError

Runner = Callable[[list[np.ndarray]], np.ndarray]
"""x, and the global image where there is one, float32 -> restored, float32; any number of threads may call it."""


def optional(module: str, needed_for: str, packages: str) -> ModuleType:
    """Import an optional package; raises UserError with the pip command if it is not installed."""
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{needed_for} takes optional packages: pip install {packages}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars, advice and deprecations of other packages away from standard output and the log."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(disabled)
