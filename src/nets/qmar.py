"""QCN, the paper's network on pixels and quantization maps (section III-B)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nets import edsr


class Net(edsr.Net):
    """QCN: the restoration branch with quantization maps as further input channels (paper section III-B, Fig. 3).

    Args:
        in_channel: 3 + 2 in colour and 1 + 1 in gray: pixels, then one map for each quantization table.
        out_channel: channels of the image.
        log_maps: append the logarithm of each map to the input (not in the paper), so that steps of 1 and 2 differ as
            much as those of 100 and 200 do.
        arguments: of `edsr.Net`.
    """

    def __init__(self, *, in_channel: int, out_channel: int, log_maps: bool = False, **arguments):
        maps = in_channel - out_channel
        super().__init__(in_channel=in_channel + maps * log_maps, out_channel=out_channel, **arguments)
        self.pixels, self.log_maps = out_channel, log_maps

    def forward(self, x: Tensor) -> Tensor:
        """Restore an image.

        Args:
            x: B x in_channel x H x W in [-1, 1], pixels first; H and W even.

        Returns:
            B x out_channel x H x W, about [-1, 1].
        """
        if self.log_maps:
            x = torch.cat([x, log_maps(x[:, self.pixels :])], dim=1)
        return super().forward(x)


def log_maps(maps: Tensor) -> Tensor:
    """Maps of steps 1..255 in [-1, 1] as about log2(step) / 4 - 1, which lies in [-1, 1], too."""
    return torch.log2((maps * 127.5 + 127.5).clamp_min(1)) / 4 - 1


def with_log_maps(state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of a network that has logarithms of its maps besides, and does not use them yet."""
    weight = state["conv_input.weight"]
    maps = weight[:, arguments["out_channel"] :]
    return {**state, "conv_input.weight": torch.cat([weight, torch.zeros_like(maps)], dim=1)}
