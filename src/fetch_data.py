"""Fetch data sets from their official addresses and lay them out as training and evaluation expect."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Fetch what ``argv`` (default: the command line) names; returns the exit code."""
    options = params().fetch_parser().parse_args(argv)

    from qgcn.evaluating.fetch import main as fetch

    return fetch(options)


if __name__ == "__main__":
    sys.exit(run(main))
