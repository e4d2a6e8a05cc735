"""The paper's tables and figures, each as one command."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Make the table or figure that ``argv`` (default: the command line) names; returns the exit code."""
    options = params().paper_parser().parse_args(argv)

    from qgcn.paper import program

    return program.main(options)


if __name__ == "__main__":
    sys.exit(run(main))
