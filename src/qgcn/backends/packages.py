"""Optional packages: imported when they are needed, told with the pip command, and kept quiet."""

import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from types import ModuleType

from qgcn.utils.errors import UserError

NO_REPORTS = {"NNCF_CI": "1", "ORT_DISABLE_TELEMETRY": "1"}
"""Environment variables without which NNCF, and ONNX Runtime where a package loads it, report their use."""


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
