"""ONNX Runtime: .onnx files, and 8 bits by its static quantization (QDQ)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from qgcn.backends.calibration import Arrays
from qgcn.backends.runner import Runner, optional, quiet
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write

SUFFIX = ".onnx"
SUFFIXES = (SUFFIX,)
BF16 = False
PACKAGES = "onnx onnxruntime"


def convert(graph: bytes, calibration: list[Arrays] | None, bears_int8: Callable[[str], bool]) -> bytes:
    """The graph itself, or one with those of its residual blocks that bear it in 8 bits (see backends.Backend)."""
    if calibration is None:
        return graph
    onnx = optional("onnx", "--int8", PACKAGES)
    tools = optional("onnxruntime.quantization", "--int8", PACKAGES)

    class Reader(tools.CalibrationDataReader):
        inputs = iter(calibration)

        def get_next(self):
            return next(self.inputs, None)

    model = onnx.load_from_string(graph)
    # It rounds what comes out of a convolution too, which the layers near the image do not bear.
    excluded = [
        node.name
        for node in model.graph.node
        if not (node.name.startswith("/network/residual") and bears_int8(node.name))
    ]
    with quiet(), TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        tools.quantize_static(
            model,
            path,
            Reader(),
            op_types_to_quantize=["Conv", "Relu"],
            nodes_to_exclude=excluded,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            # ranges from the mean extremes of the inputs: half the loss of those from the largest of all
            extra_options={"CalibMovingAverage": True},
        )
        return path.read_bytes()


def write(path: Path, converted: bytes, metadata: Mapping[str, str]) -> None:
    """Write an .onnx file with ``metadata`` in its metadata_props (see backends.Backend)."""
    onnx = optional("onnx", "exporting", "onnx")
    model = onnx.load_from_string(converted)
    onnx.helper.set_model_props(model, dict(metadata))
    with atomic_write(path) as file:
        file.write(model.SerializeToString())


def read(path: Path) -> tuple[bytes, dict[str, str]]:
    """The content of an .onnx file and its metadata_props (see backends.Backend)."""
    content = path.read_bytes()
    try:
        session = _session(content)
    except UserError:
        raise
    except Exception as error:  # the bytes of the file decide what fails, and how
        raise UserError(f"{str(path)!r} can't be read: {_first_line(error)}") from None
    return content, session.get_modelmeta().custom_metadata_map


def run(converted: bytes, precision: str) -> Runner:
    """A session (see backends.Backend)."""
    assert precision == "fp32"
    session = _session(converted)
    names = [argument.name for argument in session.get_inputs()]

    def runner(arrays: list[np.ndarray]) -> np.ndarray:
        return session.run(None, dict(zip(names, arrays, strict=True)))[0]

    return runner


def _session(content: bytes):
    runtime = optional("onnxruntime", "--backend onnxruntime", PACKAGES)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Planned for each size of tiles, memory would be kept for all of them.
    options.enable_mem_pattern = False
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
