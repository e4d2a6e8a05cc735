"""A network as an ONNX graph, and what is said of it in an exported file (docs/export.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from io import BytesIO
from typing import Any

import torch
from torch import nn

from qgcn import checkpoints, nets
from qgcn.backends.runner import optional, quiet
from qgcn.dataset.inputs import Input, get_input
from qgcn.utils.errors import UserError
from qgcn.utils.image import COLOR_MODES

FORMAT = "1"
INPUTS = ("x", "global_image")
OUTPUT = "restored"

DEEP = ("downscale", "residual", "conv_mid", "upscale")
INT8_PARTS = {"qmar": DEEP, "qmar_plus": DEEP, "edsr": DEEP, "qmarg": ("residual1", "residual2")}
"""Network -> its children that may be computed in 8 bits: they make the correction, others carry the pixels.

In QCN and EDSR the pixels pass over the full-resolution skip, in QGCN, which has none, through every layer but the
residual blocks. Rounding the pixels to 8 bits costs 0.1 to 0.5 dB (QCN) or several dB (QGCN), rounding the correction
about 0.01 dB (benchmarks/int8.py). AR-CNN has no skip at all: each of its layers carries the pixels.
"""
FLOAT_PARTS = {"qmarg": ("residual2/residual2.0",)}
"""Network -> what is within these and stays in float32: QGCN's first block behind the global features.

Its input is the pixels themselves, beside other features; rounding what it computes of them costs several times as
much as rounding all the other blocks.
"""


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
    def read(cls, metadata: Mapping[str, str], source: str) -> "Exported":
        """That of a file ``source`` with this metadata; raises UserError if the file is not export.py's."""
        try:
            if metadata["format"] != FORMAT:
                raise ValueError(metadata["format"])
            arguments = json.loads(metadata["arguments"])
            halo, peak_channels = int(metadata["halo"]), float(metadata["peak_channels"])
            degradation = checkpoints.degradation({"opt": metadata})
            exported = cls(metadata["net"], arguments, halo, peak_channels, metadata["int8"] == "true", degradation)
            nets.kind(exported.net)
            if exported.channels not in COLOR_MODES.values():
                raise ValueError(exported.channels)
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
    def input(self) -> Input:
        """What goes into it."""
        return get_input(nets.kind(self.net).input)

    @property
    def int8_parts(self) -> tuple[str, ...]:
        """The children of the network that may be computed in 8 bits."""
        return INT8_PARTS.get(nets.ALIASES.get(self.net, self.net), ())

    def bears_int8(self, node: str) -> bool:
        """Whether a node of the graph, given by its name, may be computed in 8 bits."""
        kept = FLOAT_PARTS.get(nets.ALIASES.get(self.net, self.net), ())
        return _within(node, self.int8_parts) and not _within(node, kept)

    def metadata(self) -> dict[str, str]:
        """What is written into the file."""
        return {
            "format": FORMAT,
            "net": self.net,
            "title": nets.kind(self.net).title,
            "color_mode": self.color_mode,
            "arguments": json.dumps(self.arguments),
            "halo": str(self.halo),
            "peak_channels": str(self.peak_channels),
            "int8": str(self.int8).lower(),
            "degradation": self.degradation,
        }


def _within(node: str, parts: tuple[str, ...]) -> bool:
    """Whether a node of the graph, given by its name, belongs to a part of the network."""
    return node.startswith(tuple(f"/network/{part}/" for part in parts))


class _Graph(nn.Module):
    """A network with separate arguments instead of a pair."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        return self.network(inputs if len(inputs) > 1 else inputs[0])


def to_onnx(exported: Exported, network: nn.Module) -> bytes:
    """The network's ONNX graph, for any batch, height and width (even).

    Inputs: `INPUTS`, float32, as the network takes them (the second for QGCN alone). Output: `OUTPUT`.
    """
    optional("onnx", "exporting", "onnx")
    example = exported.input.network_input(*_blank(exported))
    example = example if isinstance(example, tuple) else (example,)
    names = list(INPUTS[: len(example)])
    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("x", OUTPUT)} | {"global_image": {0: "batch"}}
    stream = BytesIO()
    # The older exporter, the only one of PyTorch 2.4: it needs no further package, keeps the modules' names and takes a
    # tenth of the time.
    older = {"dynamo": False} if "dynamo" in signature(torch.onnx.export).parameters else {}
    with quiet():
        torch.onnx.export(
            _Graph(network.eval()),
            example,
            stream,
            **older,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_axes={name: axes[name] for name in (*names, OUTPUT)},
        )
    return stream.getvalue()


def _blank(exported: Exported) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """The arguments of Input.network_input for a small blank image."""
    pixels = torch.zeros(1, exported.channels, 16, 16, dtype=torch.uint8)
    tables = torch.ones(1, 2 if exported.channels == 3 else 1, 8, 8, dtype=torch.uint8)
    return pixels, tables, exported.input.whole_image(pixels, torch.full((1, 2), 2))
