"""Convert a checkpoint, of the published program or of a training run, to one that is fit to share."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Convert as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().convert_parser().parse_args(argv)

    from qgcn.checkpoints.sharing import convert

    print(convert(options.old, options.new, half=options.half, overwrite=options.overwrite))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
