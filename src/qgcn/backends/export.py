"""Files that other programs run: ONNX, and OpenVINO's, which this one runs too (docs/export.md)."""

from pathlib import Path

from qgcn import checkpoints
from qgcn.backends import ONNX_SUFFIX, openvino
from qgcn.backends.graph import Exported, to_onnx
from qgcn.backends.packages import optional
from qgcn.utils.errors import UserError, choose
from qgcn.utils.files import atomic_write

FORMATS = {"onnx": ONNX_SUFFIX, "openvino": openvino.SUFFIX}
"""Name of a format on the command line -> suffix of the file that stands for it."""


def export(
    source: str, to: str, *, output: str = "", int8: bool = False, calibration: str = "", overwrite: bool = False
) -> str:
    """Write the network of the checkpoint ``source`` in another format.

    Args:
        to: one of FORMATS.
        output: the file to write (default: named after ``source``).
        int8, calibration: as for `openvino.convert`.

    Returns:
        A line that says what the file holds.

    Raises:
        UserError: if these don't go together, a file can't be read, or one exists.
    """
    suffix = choose(FORMATS, to, "--to")
    if int8 and to != "openvino":
        raise UserError(f"--int8 takes --to openvino: --to {to} writes float32")
    if calibration and not int8:
        raise UserError("--calibration is for --int8: give both or neither")
    content = checkpoints.load(source)
    name = Path(source).stem + ("_int8" if int8 else "") + suffix
    target = Path(output or Path(source).with_name(name))
    if target.suffix != suffix:
        raise UserError(f"the output {str(target)!r} does not end in {suffix}, which --to {to} writes")
    for path in map(target.with_suffix, openvino.SUFFIXES if to == "openvino" else (suffix,)):
        if path.exists() and not overwrite:
            raise UserError(f"the output {str(path)!r} exists: give another -o or --overwrite")
    if to == "openvino":
        model, exported = openvino.convert(content, int8=int8, calibration=calibration)
        openvino.write(target, model, exported)
    else:
        network = checkpoints.build_network(content)
        exported = Exported.of(content, network)
        onnx = optional("onnx", "exporting", "onnx")
        model = onnx.load_from_string(to_onnx(exported, network))
        onnx.helper.set_model_props(model, exported.metadata())
        with atomic_write(target) as file:
            file.write(model.SerializeToString())
    return f"{target}: {exported.title}, {exported.color_mode}{', 8 bits' if int8 else ''}"
