"""OpenVINO: .xml and .bin files, and 8 bits by NNCF's post-training quantization."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from qgcn.backends.calibration import Arrays
from qgcn.backends.runner import Runner, optional, quiet
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write

SUFFIX = ".xml"
WEIGHTS_SUFFIX = ".bin"
SUFFIXES = (WEIGHTS_SUFFIX, SUFFIX)  # in the order of writing: who finds the .xml finds both
BF16 = True
PACKAGES = "onnx openvino"
ROOT = "qgcn"
"""Where metadata lie in a file's rt_info."""


def _openvino():
    return optional("openvino", "--backend openvino", PACKAGES)


def convert(graph: bytes, calibration: list[Arrays] | None, bears_int8: Callable[[str], bool]):
    """An openvino.Model, with the convolutions that bear it in 8 bits (see backends.Backend)."""
    model = _openvino().Core().read_model(graph)
    if calibration is None:
        return model
    nncf = optional("nncf", "--int8 with OpenVINO", f"{PACKAGES} nncf")
    with quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(calibration),
            subset_size=len(calibration),
            # Convolutions alone: the sums carry the pixels. Activations have one step a tensor, weights one a channel.
            ignored_scope=nncf.IgnoredScope(
                names=[
                    node.get_friendly_name()
                    for node in model.get_ordered_ops()
                    if node.get_type_name() in ("Convolution", "MatMul") and not bears_int8(node.get_friendly_name())
                ],
                types=["Add", "Multiply", "Concat"],
                validate=False,
            ),
        )


def write(path: Path, converted, metadata: Mapping[str, str]) -> None:
    """Write the .xml file, with ``metadata`` in its rt_info, and the .bin file beside it (see backends.Backend)."""
    for name, value in metadata.items():
        converted.set_rt_info(value, [ROOT, name])
    with TemporaryDirectory() as folder:
        temporary = Path(folder, path.name)
        try:
            _openvino().save_model(converted, temporary, compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO's word for a full disk
            raise UserError(
                f"OpenVINO can't write into the temporary folder {folder!r}: {error} (is it full?)"
            ) from None
        for suffix in SUFFIXES:
            with atomic_write(path.with_suffix(suffix)) as file:
                file.write(temporary.with_suffix(suffix).read_bytes())


def read(path: Path):
    """The openvino.Model of an .xml file and the metadata in its rt_info (see backends.Backend)."""
    openvino = _openvino()
    if not path.with_suffix(WEIGHTS_SUFFIX).is_file():
        raise UserError(
            f"{str(path)!r} takes {str(path.with_suffix(WEIGHTS_SUFFIX))!r} beside it, which does not exist"
        )
    try:
        model = openvino.Core().read_model(path)
        metadata = model.get_rt_info([ROOT]).value if model.has_rt_info([ROOT]) else {}
        return model, {name: str(value) for name, value in metadata.items()}
    except Exception as error:  # the bytes of the file decide what fails, and how
        reason = str(error).strip().splitlines()[-1].strip()[:200] if str(error).strip() else type(error).__name__
        raise UserError(f"{str(path)!r} can't be read: {reason}") from None


def run(converted, precision: str) -> Runner:
    """A compiled model, one request a thread (see backends.Backend).

    Heights and widths stay dynamic: a new size costs a fraction of a second once, and an image has at most nine sizes
    of tiles.
    """
    compiled = (
        _openvino()
        .Core()
        .compile_model(
            converted,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                # left to itself it takes bf16 where the processor has it
                "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
    )
    local = threading.local()

    def runner(arrays: list[np.ndarray]) -> np.ndarray:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        return local.request.infer(arrays)[0]

    return runner
