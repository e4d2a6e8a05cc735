"""What runs a network: PyTorch, or OpenVINO or ONNX Runtime, which are faster on a CPU.

A backend takes the graph of a network in ONNX form (backends.graph) and makes a thing with a network's own call of
it, so that tiles, padding and colour are the same code for all (engine.restore_image).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qgcn import checkpoints, nets
from qgcn.backends import onnx_runtime, open_vino
from qgcn.backends.calibration import Arrays, calibration_inputs
from qgcn.backends.graph import Exported, to_onnx
from qgcn.backends.runner import Runner
from qgcn.utils.errors import UserError, check_choice

TORCH = "torch"
BACKENDS = {"openvino": open_vino, "onnxruntime": onnx_runtime}
"""Name on the command line -> module, a `Backend`; PyTorch itself is 'torch'."""
FORMATS = {"onnx": onnx_runtime, "openvino": open_vino}
"""Name of a format that export.py writes -> the backend that reads it."""
PRECISIONS = ("fp32", "bf16")


class Backend(Protocol):
    """What the modules of BACKENDS offer; their optional packages are imported when a function is called.

    Attributes:
        SUFFIX: of the file that stands for an exported model.
        SUFFIXES: of all its files.
        BF16: whether it computes in bfloat16 where the processor can.
    """

    SUFFIX: str
    SUFFIXES: tuple[str, ...]
    BF16: bool

    def convert(self, graph: bytes, calibration: list[Arrays] | None, bears_int8: Callable[[str], bool]) -> Any:
        """The backend's own form of a graph, in 8 bits where ``calibration`` is given.

        Args:
            graph: of `graph.to_onnx`.
            calibration: inputs that show which values occur.
            bears_int8: whether to compute a node of the graph, given by its name, in 8 bits.
        """

    def write(self, path: Path, converted: Any, metadata: Mapping[str, str]) -> None:
        """Write what `convert` made, whole or not at all, with ``metadata``."""

    def read(self, path: Path) -> tuple[Any, dict[str, str]]:
        """What `write` wrote: the converted graph and its metadata; raises UserError if it can't be read."""

    def run(self, converted: Any, precision: str) -> Runner:
        """What runs the converted graph, with as many threads as PyTorch uses now."""


class Foreign(nn.Module):
    """A network that another program runs, for inference on the CPU: the call of the networks in `nets`.

    Args:
        runner: of a backend.
        halo, peak_channels: of the network.
    """

    def __init__(self, runner: Runner, *, halo: int, peak_channels: float):
        super().__init__()
        self.runner = runner
        self.halo, self.peak_channels = halo, peak_channels

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """As the network's own: x, or the pair of x and the global image, float32 -> B x C x H x W."""
        tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        return torch.from_numpy(self.runner([tensor.contiguous().numpy() for tensor in tensors]))


class Autocast(nn.Module):
    """A network whose convolutions PyTorch computes in bfloat16, which is faster on a processor made for it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.halo, self.peak_channels = network.halo, network.peak_channels

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        """As the network's own, bfloat16."""
        device = next(self.network.parameters()).device.type
        with torch.autocast(device, torch.bfloat16):
            return self.network(inputs)


def _check(name: str, precision: str, int8: bool, device: torch.device) -> None:
    """Raise UserError for a choice that does not exist or does not go together."""
    check_choice(name, (TORCH, *BACKENDS), "--backend")
    check_choice(precision, PRECISIONS, "--precision")
    if name == TORCH:
        if int8:
            raise UserError("--int8 takes --backend openvino or onnxruntime: PyTorch itself has no such kernels here")
        return
    if device.type != "cpu":
        raise UserError(f"--backend {name} runs on the CPU: leave out --cuda")
    if precision == "bf16" and not BACKENDS[name].BF16:
        raise UserError(f"--backend {name} has no --precision bf16: choose torch or openvino")


def convert(
    backend: Backend, content: dict[str, Any], *, int8: bool = False, calibration: str = ""
) -> tuple[Any, Exported]:
    """A checkpoint's network in a backend's own form, and its description.

    Args:
        content: of checkpoints.load.
        int8: compute most of it in 8 bits.
        calibration: a folder of images that show which values occur (default: scikit-image's photographs).

    Raises:
        UserError: if an optional package is missing, the network bears no 8 bits, or the folder can't be read.
    """
    network = checkpoints.build_network(content)
    seen = checkpoints.degradation(content)
    exported = Exported(content["net"], content["arguments"], network.halo, network.peak_channels, int8, seen)
    if int8 and not exported.int8_parts:
        title = nets.kind(exported.net).title
        raise UserError(f"--int8 does not suit {title}: each of its layers carries the picture")
    inputs = calibration_inputs(exported, calibration) if int8 else None
    return backend.convert(to_onnx(exported, network), inputs, exported.bears_int8), exported


def build(
    content: dict[str, Any],
    device: torch.device,
    *,
    backend: str = "",
    precision: str = "fp32",
    int8: bool = False,
    source: str | Path = "",
) -> nn.Module:
    """The network of a checkpoint, ready to restore.

    Args:
        content: of checkpoints.load.
        backend: 'torch' (also '') or one of BACKENDS.
        precision: 'fp32' or 'bf16', of what is not computed in 8 bits.
        int8: compute most of it in 8 bits, calibrated on scikit-image's photographs.
        source: the checkpoint's file, for messages.

    Raises:
        UserError: if these don't go together, or an optional package is missing.
    """
    backend = backend or TORCH
    _check(backend, precision, int8, device)
    if backend == TORCH:
        network = checkpoints.build_network(content, source).to(device, memory_format=torch.channels_last).eval()
        return Autocast(network) if precision == "bf16" else network
    chosen = BACKENDS[backend]
    converted, exported = convert(chosen, content, int8=int8)
    runner = chosen.run(converted, precision)
    return Foreign(runner, halo=exported.halo, peak_channels=exported.peak_channels)


def is_exported(path: str | Path) -> bool:
    """Whether a file is, by its name, one of export.py."""
    return Path(path).suffix.lower() in {backend.SUFFIX for backend in BACKENDS.values()}


def open_exported(
    path: str | Path, device: torch.device, *, backend: str = "", precision: str = "fp32", int8: bool = False
) -> tuple[nn.Module, Exported]:
    """The network of a file that export.py wrote, ready to restore, and what the file says of it.

    Raises:
        UserError: if the file can't be read, is somebody else's, or is not what the options ask for.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    own = next(name for name, module in BACKENDS.items() if suffix == module.SUFFIX)
    if backend not in ("", own):
        raise UserError(f"{str(path)!r} is for --backend {own}: leave --backend out, or give the checkpoint")
    _check(own, precision, int8, device)
    if not path.is_file():
        raise UserError(f"the exported model {str(path)!r} does not exist")
    converted, metadata = BACKENDS[own].read(path)
    exported = Exported.read(metadata, str(path))
    if int8 and not exported.int8:
        raise UserError(f"{str(path)!r} is not in 8 bits: export the checkpoint with --int8")
    runner = BACKENDS[own].run(converted, precision)
    return Foreign(runner, halo=exported.halo, peak_channels=exported.peak_channels), exported
