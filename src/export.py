"""Write a checkpoint's network in a form that other programs run: ONNX, or OpenVINO's (docs/export.md)."""

import sys

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Export as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().export_parser().parse_args(argv)

    from qgcn.backends.export import export

    line = export(
        options.model,
        options.to,
        output=options.output,
        int8=options.int8,
        calibration=options.calibration,
        overwrite=options.overwrite,
    )
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
