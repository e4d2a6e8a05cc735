"""Checkpoints: data that rebuild their own network, in this project's format or the published program's."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qgcn import nets
from qgcn.checkpoints import published
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write

FORMAT = 1
KEYS = {"net", "arguments", "model", "opt", "epoch"}  # what every checkpoint says besides its format; see `describe`


def describe(network: nn.Module, name: str, arguments: dict[str, Any], options: dict[str, Any], epoch: int) -> dict:
    """The content of a checkpoint: what rebuilds the network, and the options and epoch that made it.

    Keys: ``format``; ``net`` and ``arguments`` of `nets.build`; ``model``, the state dict; ``opt``, the options;
    ``epoch``. A checkpoint to resume from has ``training`` besides.
    """
    return {
        "format": FORMAT,
        "net": name,
        "arguments": arguments,
        "model": {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()},
        "opt": options,
        "epoch": epoch,
    }


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all: a disk that fills up costs the new file, never an old one."""
    stream = BytesIO()
    torch.save(content, stream)
    with atomic_write(path) as file:
        file.write(stream.getbuffer())


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this project or of the published program as `describe` makes it, tensors on the CPU.

    Nothing in the file is executed. Weights are float32, whatever the file stores (convert.py --half: float16).

    Raises:
        UserError: if the file is missing, damaged or no checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"the checkpoint {str(path)!r} is a folder: give a .pth file")
    if not path.is_file():
        raise UserError(f"the checkpoint {str(path)!r} does not exist")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's advice on files that are not its own: told below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # the bytes of the file decide what fails, and how
        content = {"format": FORMAT} | published.load(path)
        build_network(content, path)
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.keys() >= KEYS:
        raise UserError(f"{str(path)!r} is no checkpoint of this project (format {FORMAT})")
    weights = content["model"]
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise UserError(f"{str(path)!r} has no state dict under 'model'")
    others = {name: w for name, w in weights.items() if w.is_floating_point() and w.dtype != torch.float32}
    if sum(weight.numel() * weight.element_size() for weight in others.values()) > path.stat().st_size:
        raise UserError(f"{str(path)!r} has weights that are larger than the file")
    content["model"] = weights | {name: weight.float() for name, weight in others.items()}
    return content


def build_network(content: dict[str, Any], source: str | Path = "") -> nn.Module:
    """The network of a checkpoint, with its weights; ``source`` is its file, for messages.

    Raises:
        UserError: if weights and description contradict each other, or a weight is not finite.
    """
    of = f" ({str(source)!r})" if source else ""
    try:
        network = nets.build(content["net"], content["arguments"])
        network.load_state_dict(content["model"])
    except Exception as error:  # the file's own words decide what fails, and how
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the checkpoint's weights do not fit its own description{of}: {reason}") from None
    broken = [name for name, weight in content["model"].items() if not weight.isfinite().all()]
    if broken:
        raise UserError(
            f"the checkpoint's weights {', '.join(broken)[:100]} are not finite numbers{of}: its training diverged, "
            "take an earlier one"
        )
    return network


def degradation(content: dict[str, Any]) -> str:
    """How the crops that a checkpoint has learnt from became JPEGs: 'published' where it does not say so."""
    return str(content["opt"].get("degradation", "published"))


def image_channels(content: dict[str, Any]) -> int:
    """3 for a checkpoint that restores colour, 1 for gray."""
    arguments = content["arguments"]
    return arguments["channels"] if "channels" in arguments else arguments["out_channel"]
