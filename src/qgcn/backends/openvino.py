"""OpenVINO: networks in its form, its .xml and .bin files, and 8 bits by NNCF's post-training quantization."""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qgcn import checkpoints
from qgcn.backends.graph import OUTPUT, Exported, named_arrays, to_onnx
from qgcn.backends.packages import optional, quiet
from qgcn.jpeg.codec import PillowCodec
from qgcn.jpeg.tables import BLOCK
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write
from qgcn.utils.image import image_files, load_image, pad_to_multiple, sample_photographs

SUFFIX = ".xml"
WEIGHTS_SUFFIX = ".bin"
SUFFIXES = (WEIGHTS_SUFFIX, SUFFIX)  # in the order of writing: who finds the .xml finds both
PACKAGES = "onnx openvino"
ROOT = "qgcn"  # where metadata lie in a file's rt_info
QUALITIES, IMAGES, SIDE = (5, 10, 20, 30, 40, 50, 70, 90), 16, 256  # of crops for calibration, SIDE pixels square


def _openvino() -> ModuleType:
    return optional("openvino", "--backend openvino", PACKAGES)


def convert(content: dict[str, Any], *, int8: bool = False, calibration: str = "") -> tuple[Any, Exported]:
    """A checkpoint's network as an openvino.Model, and its description.

    Args:
        content: of checkpoints.load.
        int8: compute in 8 bits the convolutions of the network's ``int8_parts``.
        calibration: a folder of images that show which values occur (default: scikit-image's photographs).

    Raises:
        UserError: if an optional package is missing, the network bears no 8 bits, or the folder can't be read.
    """
    network = checkpoints.build_network(content)
    exported = Exported.of(content, network, int8=int8)
    if int8 and not network.int8_parts:
        raise UserError(f"--int8 does not suit {exported.title}: each of its layers carries the picture")
    model = _openvino().Core().read_model(to_onnx(exported, network))
    if int8:
        model = _in_8_bits(model, network.int8_parts, _calibration_inputs(exported, calibration))
    return model, exported


def _calibration_inputs(exported: Exported, folder: str) -> list[dict[str, np.ndarray]]:
    """Inputs that show which values occur (graph.named_arrays): crops of photographs, always the same ones.

    Args:
        folder: of images, of which up to 16 are taken; '' takes the photographs that scikit-image brings along.
    """
    files = image_files(folder) if folder else sample_photographs()
    chance = np.random.default_rng(0)
    inputs = []
    for file in files[:: -(-len(files) // IMAGES)]:
        pixels = pad_to_multiple(load_image(file, exported.color_mode), BLOCK)
        for quality in QUALITIES:
            top, left = (chance.integers(max(length - SIDE, 0) + 1) for length in pixels.shape[:2])
            compressed = PillowCodec().compress(pixels[top : top + SIDE, left : left + SIDE], quality)
            crop = torch.tensor(compressed.pixels).permute(2, 0, 1)[None]
            tables, reductions = torch.tensor(compressed.tables)[None], torch.tensor([compressed.reduction])
            inputs.append(named_arrays(exported.input.assemble(crop, tables, reductions)))
    return inputs


def _in_8_bits(model: Any, parts: tuple[str, ...], inputs: list[dict[str, Any]]) -> Any:
    """The model with the convolutions of these parts of the network in 8 bits, as ``inputs`` show their values."""
    nncf = optional("nncf", "--int8 with OpenVINO", f"{PACKAGES} nncf")
    prefixes = tuple(f"/network/{part}/" for part in parts)
    products = [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "MatMul")]
    kept = [name for node in products if not (name := node.get_friendly_name()).startswith(prefixes)]
    # Convolutions alone: the sums carry the pixels. Activations have one step a tensor, weights one a channel.
    ignored = nncf.IgnoredScope(names=kept, types=["Add", "Multiply", "Concat"], validate=False)
    with quiet():
        return nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs), ignored_scope=ignored)


def write(path: Path, model: Any, exported: Exported) -> None:
    """Write the .xml file, with its metadata in rt_info, and the .bin file beside it, each whole or not at all."""
    for name, value in exported.metadata().items():
        model.set_rt_info(value, [ROOT, name])
    with TemporaryDirectory() as folder:
        temporary = Path(folder, path.name)
        try:
            _openvino().save_model(model, temporary, compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO's word for a full disk
            reason = f"{error} (is it full?)"
            raise UserError(f"OpenVINO can't write into the temporary folder {folder!r}: {reason}") from None
        for suffix in SUFFIXES:
            with atomic_write(path.with_suffix(suffix)) as file:
                file.write(temporary.with_suffix(suffix).read_bytes())


def read(path: Path) -> tuple[Any, Exported]:
    """What `write` wrote, as `convert` returns it; raises UserError if it can't be read or is somebody else's."""
    if not path.is_file():
        raise UserError(f"the exported model {str(path)!r} does not exist")
    openvino = _openvino()
    weights = path.with_suffix(WEIGHTS_SUFFIX)
    if not weights.is_file():
        raise UserError(f"{str(path)!r} takes {str(weights)!r} beside it, which does not exist")
    try:
        model = openvino.Core().read_model(path)
        metadata = model.get_rt_info([ROOT]).value if model.has_rt_info([ROOT]) else {}
        metadata = {name: str(value) for name, value in metadata.items()}
    except Exception as error:  # the bytes of the file decide what fails, and how
        reason = str(error).strip().splitlines()[-1].strip()[:200] if str(error).strip() else type(error).__name__
        raise UserError(f"{str(path)!r} can't be read: {reason}") from None
    return model, Exported.read(metadata, str(path))


class Compiled(nn.Module):
    """A network that OpenVINO runs, for inference on the CPU: the call of the networks in `nets`.

    It uses as many threads as PyTorch does now; any number of threads may call it, each with a request of its own.
    Heights and widths stay dynamic: a new size costs a fraction of a second once, and an image has at most nine sizes
    of tiles.

    Args:
        model, exported: of `convert` or `read`.
        precision: 'fp32' or 'bf16', of what is not computed in 8 bits.
    """

    def __init__(self, model: Any, exported: Exported, precision: str):
        super().__init__()
        self.halo, self.peak_channels = exported.halo, exported.peak_channels
        self._local = threading.local()
        options = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # left to itself it takes bf16 where the processor has it
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = _openvino().Core().compile_model(model, "CPU", options)

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """As the network's own: x, or the pair of x and the global image, float32 -> B x C x H x W."""
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return torch.from_numpy(self._local.request.infer(named_arrays(inputs))[OUTPUT])
