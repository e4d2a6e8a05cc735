"""What runs a network: PyTorch, or OpenVINO, which is faster on a CPU.

Either has a network's own call, so that tiles, padding and colour are the same code for both (restoring.tiles).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qgcn import checkpoints
from qgcn.backends import openvino
from qgcn.backends.graph import Exported
from qgcn.utils.errors import UserError, check_choice

BACKENDS = ("torch", "openvino")
PRECISIONS = ("fp32", "bf16")
ONNX_SUFFIX = ".onnx"


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


def _check(backend: str, precision: str, int8: bool, device: torch.device) -> None:
    """Raise UserError for a choice that does not exist or does not go together."""
    check_choice(backend, BACKENDS, "--backend")
    check_choice(precision, PRECISIONS, "--precision")
    if backend == "torch" and int8:
        raise UserError("--int8 takes --backend openvino: PyTorch itself has no such kernels here")
    if backend == "openvino" and device.type != "cpu":
        raise UserError("--backend openvino runs on the CPU: leave out --cuda")


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
        backend: 'torch' (also '') or 'openvino'.
        precision: 'fp32' or 'bf16', of what is not computed in 8 bits.
        int8: compute most of it in 8 bits, calibrated on scikit-image's photographs.
        source: the checkpoint's file, for messages.

    Raises:
        UserError: if these don't go together, or an optional package is missing.
    """
    backend = backend or "torch"
    _check(backend, precision, int8, device)
    if backend == "openvino":
        return openvino.Compiled(*openvino.convert(content, int8=int8), precision)
    network = checkpoints.build_network(content, source).to(device, memory_format=torch.channels_last).eval()
    return Autocast(network) if precision == "bf16" else network


def is_exported(path: str | Path) -> bool:
    """Whether a file is, by its name, one of export.py."""
    return Path(path).suffix.lower() in (openvino.SUFFIX, ONNX_SUFFIX)


def open_exported(
    path: str | Path, device: torch.device, *, backend: str = "", precision: str = "fp32", int8: bool = False
) -> tuple[nn.Module, Exported]:
    """The network of a file that export.py wrote for OpenVINO, ready to restore, and what the file says of it.

    Raises:
        UserError: if the file can't be read, is somebody else's, or is not what the options ask for.
    """
    path = Path(path)
    if path.suffix.lower() == ONNX_SUFFIX:
        raise UserError(f"{str(path)!r} is for other programs: give the checkpoint, or export it with --to openvino")
    if backend not in ("", "openvino"):
        raise UserError(f"{str(path)!r} is for --backend openvino: leave --backend out, or give the checkpoint")
    _check("openvino", precision, int8, device)
    model, exported = openvino.read(path)
    if int8 and not exported.int8:
        raise UserError(f"{str(path)!r} is not in 8 bits: export the checkpoint with --int8")
    return openvino.Compiled(model, exported, precision), exported
