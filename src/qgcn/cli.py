"""What every program shares: finding params.py, one-sentence errors and exit codes."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from qgcn.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
"""The repository, where the package runs from one: params.py and checkpoint/ lie here."""

REQUIRED = {"numpy", "PIL", "skimage", "torch", "torchvision", "tqdm"}
"""The modules of requirements.txt that programs import."""


def params() -> ModuleType:
    """The module params.py: the repository's, or in an installed package the copy that lies in it."""
    if "qgcn.params" not in sys.modules:
        place = next(path for path in (Path(__file__).with_name("params.py"), ROOT / "params.py") if path.is_file())
        spec = importlib.util.spec_from_file_location("qgcn.params", place)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["qgcn.params"] = module
    return sys.modules["qgcn.params"]


def run(main: Callable[[list[str] | None], int], argv: list[str] | None = None) -> int:
    """Call ``main(argv)`` and return its exit code.

    What a user can mend (UserError, an operating system error on a file) becomes one sentence on standard
    error and exit code 2; an interruption 130. Faults of the program itself keep their traceback.
    """
    try:
        return main(argv)
    except UserError as error:
        message, code = f"error: {error}", 2
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        reason = error.strerror or str(error)
        where = f"{str(error.filename)!r} can't be read or written: " if error.filename is not None else ""
        message, code = f"error: {where}{reason}", 2
    except ModuleNotFoundError as error:
        if error.name not in REQUIRED:
            raise
        remedy = "activate the environment that has it (source .venv/bin/activate), or pip install -r requirements.txt"
        message, code = f"error: the package {error.name} is not installed for {sys.executable}: {remedy}", 2
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    if os.environ.get("RANK", "0") == "0":  # of several processes one tells
        print(message, file=sys.stderr)
    return code


def restore() -> int:
    """The command qgcn-restore, which is src/restore.py where the package is installed."""

    def main(argv: list[str] | None) -> int:
        options = params().restore_parser("qgcn-restore").parse_args(argv)

        from qgcn.restoring.program import main as restore_as

        return restore_as(options)

    return run(main)
