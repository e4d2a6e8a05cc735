"""Restore anybody's JPEG files: any file, any folder, with the quantization tables that they carry."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Restore as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().restore_parser().parse_args(argv)

    from qgcn.restoring.files import main as restore

    return restore(options)


if __name__ == "__main__":
    sys.exit(run(main))
