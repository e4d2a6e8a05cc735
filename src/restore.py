"""Restore anybody's JPEG files: any file, any folder, with the quantization tables that they carry.

As a library: ``from qgcn import Restorer``; ``from restore import Restorer`` with src/ on the path still works.
"""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Restore as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().restore_parser().parse_args(argv)

    from qgcn.restoring.program import main as restore

    return restore(options)


def __getattr__(name: str):
    """Restorer, brought in when it is asked for, so that --help is fast."""
    if name != "Restorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from qgcn.restoring.restorer import Restorer

    return Restorer


if __name__ == "__main__":
    sys.exit(run(main))
