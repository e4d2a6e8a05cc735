"""A network as an ONNX graph, and what is said of it in an exported file (docs/export.md)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from inspect import signature
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qgcn import checkpoints, nets
from qgcn.backends.packages import optional, quiet
from qgcn.dataset.inputs import Input, get_input
from qgcn.nets.base import Network
from qgcn.utils.errors import UserError
from qgcn.utils.image import COLOR_MODES

FORMAT = "1"
INPUTS = ("x", "global_image")
OUTPUT = "restored"


@dataclass(frozen=True)
class Exported:
    """What an exported file says of its network.

    Attributes:
        net, arguments: as in a checkpoint (checkpoints.describe); they rebuild the network.
        halo: the network's reach, pixels.
        peak_channels: values a pixel that are in memory at once, at most.
        int8: whether it computes in 8 bits.
        degradation: what it has learnt from (checkpoints.degradation).
    """

    net: str
    arguments: dict[str, Any]
    halo: int
    peak_channels: float
    int8: bool = False
    degradation: str = "published"

    @classmethod
    def of(cls, content: dict[str, Any], network: Network, *, int8: bool = False) -> "Exported":
        """That of a checkpoint's content and its network."""
        degradation = checkpoints.degradation(content)
        return cls(content["net"], content["arguments"], network.halo, network.peak_channels, int8, degradation)

    @classmethod
    def read(cls, metadata: Mapping[str, str], source: str) -> "Exported":
        """That of a file ``source`` with this metadata; raises UserError if the file is not export.py's."""
        try:
            arguments = json.loads(metadata["arguments"])
            halo, peak_channels = int(metadata["halo"]), float(metadata["peak_channels"])
            degradation = checkpoints.degradation({"opt": metadata})
            exported = cls(metadata["net"], arguments, halo, peak_channels, metadata["int8"] == "true", degradation)
            nets.kind(exported.net)
            if metadata["format"] != FORMAT or exported.channels not in COLOR_MODES.values():
                raise ValueError("another format or number of channels")
        except (KeyError, ValueError, TypeError):
            raise UserError(f"{source!r} does not say which network it holds: write it with export.py") from None
        return exported

    @property
    def channels(self) -> int:
        """3 for colour, 1 for gray."""
        return checkpoints.image_channels({"arguments": self.arguments})

    @property
    def color_mode(self) -> str:
        """'RGB' or 'L'."""
        return next(mode for mode, channels in COLOR_MODES.items() if channels == self.channels)

    @property
    def title(self) -> str:
        """The network's name in the paper."""
        return nets.kind(self.net).title

    @property
    def input(self) -> Input:
        """What goes into it."""
        return get_input(nets.kind(self.net).input)

    def metadata(self) -> dict[str, str]:
        """What is written into the file: texts, numbers and arguments as JSON."""
        own = {name: value if isinstance(value, str) else json.dumps(value) for name, value in asdict(self).items()}
        return {"format": FORMAT, "title": self.title, "color_mode": self.color_mode, **own}


def named_arrays(inputs: Tensor | tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    """A network's argument as arrays by the names that the graph gives them."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return {name: tensor.contiguous().numpy() for name, tensor in zip(INPUTS, inputs, strict=False)}


class _Graph(nn.Module):
    """A network with separate arguments instead of a pair."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        return self.network(inputs if len(inputs) > 1 else inputs[0])


def to_onnx(exported: Exported, network: nn.Module) -> bytes:
    """The network's ONNX graph, for any batch, height and width (even).

    Inputs: `INPUTS`, float32, as the network takes them (the second for QGCN alone). Output: `OUTPUT`. The nodes of a
    child of the network are called "/network/<child>/...".
    """
    optional("onnx", "exporting", "onnx")
    pixels = torch.zeros(1, exported.channels, 16, 16, dtype=torch.uint8)
    tables = torch.ones(1, 2 if exported.channels == 3 else 1, 8, 8, dtype=torch.uint8)
    example = exported.input.assemble(pixels, tables, torch.full((1, 2), 2))
    example = example if isinstance(example, tuple) else (example,)
    names = list(named_arrays(example))
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("x", OUTPUT)} | {"global_image": {0: "batch"}}
    stream = BytesIO()
    # The older exporter, the only one of PyTorch 2.4: it needs no further package, keeps the modules' names and takes a
    # tenth of the time.
    keywords: dict[str, Any] = {"dynamo": False} if "dynamo" in signature(torch.onnx.export).parameters else {}
    keywords["dynamic_axes"] = {name: axes[name] for name in (*names, OUTPUT)}
    with quiet():
        torch.onnx.export(_Graph(network.eval()), example, stream, input_names=names, output_names=[OUTPUT], **keywords)
    return stream.getvalue()
