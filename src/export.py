"""Write a checkpoint's network in a form that other programs run: ONNX, or OpenVINO's (docs/export.md)."""

import sys
from pathlib import Path

from qgcn.cli import params, run
from qgcn.utils.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Export as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().export_parser().parse_args(argv)

    from qgcn import backends, checkpoints

    backend = backends.FORMATS.get(options.to)
    if backend is None:
        raise UserError(f"--to {options.to!r} is unknown: choose from {', '.join(backends.FORMATS)}")
    if options.calibration and not options.int8:
        raise UserError("--calibration is for --int8: give both or neither")
    content = checkpoints.load(options.model)
    model = Path(options.model)
    target = Path(options.output or model.with_name(model.stem + ("_int8" if options.int8 else "") + backend.SUFFIX))
    if target.suffix != backend.SUFFIX:
        raise UserError(f"the output {str(target)!r} does not end in {backend.SUFFIX}, which --to {options.to} writes")
    for path in (target.with_suffix(suffix) for suffix in backend.SUFFIXES):
        if path.exists() and not options.overwrite:
            raise UserError(f"the output {str(path)!r} exists: give another -o or --overwrite")
    converted, exported = backends.convert(backend, content, int8=options.int8, calibration=options.calibration)
    backend.write(target, converted, exported.metadata())
    title = exported.metadata()["title"]
    print(f"{target}: {title}, {exported.color_mode}{', 8 bits' if options.int8 else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
