"""Convert a checkpoint, of the published program or of a training run, to one that is fit to share."""

import sys
from pathlib import Path

from qgcn.cli import params, run
from qgcn.utils.errors import UserError

LOCAL = ("imgGTRoot", "imgValidRoot", "store", "savedir", "resume", "pretrained")
"""Options that name places on somebody's machine."""


def main(argv: list[str] | None = None) -> int:
    """Convert as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().convert_parser().parse_args(argv)
    old, new = Path(options.old), Path(options.new)
    if new.exists() and old.exists() and new.samefile(old):
        raise UserError(
            f"{options.new!r} is the checkpoint to convert, whose training state would be lost: give another name"
        )
    if new.is_dir():
        raise UserError(f"{options.new!r} is a folder: name a file")
    if new.exists() and not options.overwrite:
        raise UserError(f"{options.new!r} exists: give another name or --overwrite")

    from qgcn import checkpoints, nets

    content = checkpoints.load(options.old)
    content.pop("training", None)
    content["opt"] = {name: value for name, value in content["opt"].items() if name not in LOCAL}
    network = checkpoints.build_network(content, options.old)
    checkpoints.save(options.new, content)
    title = nets.kind(content["net"]).title
    print(f"{options.new}: {title}, {nets.parameter_count(network)} parameters, epoch {content['epoch']}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
