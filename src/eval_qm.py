"""Evaluate QCN."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Evaluate, or restore a folder, as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().evaluation_parser("eval_qm.py", "QCN").parse_args(argv)

    from qgcn.evaluating import program

    return program.main(options, loader="jpeg_qm")


if __name__ == "__main__":
    sys.exit(run(main))
