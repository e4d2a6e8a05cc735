"""What backends share: the type of a runner, optional packages, and quiet."""

import importlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import ModuleType

import numpy as np

from qgcn.utils.errors import UserError

Runner = Callable[[list[np.ndarray]], np.ndarray]
"""x, and the global image where there is one, float32 -> restored, float32; any number of threads may call it."""


NO_REPORTS = {"ORT_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}
"""Environment variables without which ONNX Runtime and NNCF report their use over the network."""


def optional(module: str, needed_for: str, packages: str) -> ModuleType:
    """Import an optional package; raises UserError with the pip command if it is not installed."""
    for name, value in NO_REPORTS.items():
        os.environ.setdefault(name, value)
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
