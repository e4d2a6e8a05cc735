"""Train a network: options -> data -> network -> loss -> epochs -> checkpoints."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Train as ``argv`` (default: the command line) says; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = params().training_parser()
    options = parser.parse_args(argv)
    given = params().given_options(parser, argv)

    from qgcn.training.build import main as train

    return train(options, given, program=__file__, argv=argv)


if __name__ == "__main__":
    sys.exit(run(main))
