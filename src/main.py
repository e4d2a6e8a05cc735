"""Train a network: options -> data -> network -> loss -> epochs -> checkpoints."""

import sys

from program import params, run


def main(argv: list[str] | None = None) -> int:
    """Train as ``argv`` (default: the command line) says; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = params().training_parser()
    options = parser.parse_args(argv)
    given = params().given_options(parser, argv)

    from training import log_to_terminal, resume_options, train
    from utils import distributed

    with log_to_terminal():
        state, changes = None, []
        if options.resume:
            options, state, changes = resume_options(options, given)
        if len(options.gpus) > 1 and not distributed.under_torchrun():
            distributed.choose_device(options.cuda, options.gpus)  # a GPU that is missing is better told here, once
            return distributed.launch(__file__, argv, cuda=options.cuda, gpus=options.gpus)
        return train(options, state, command=["src/main.py", *argv], changes=changes)


if __name__ == "__main__":
    sys.exit(run(main))
