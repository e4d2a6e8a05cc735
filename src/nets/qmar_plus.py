"""QCN+, this project's QCN for the files that people have: it is told more of what a file says."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nets import edsr
from nets.gray import INPUT


class Net(edsr.Net):
    """QCN with more maps, one of which scales its change of the pixels (dataset.jpeg_qm_plus; not in the paper).

    ``in_channel`` is 3 + 7 in colour and 1 + 3 in gray: pixels, quantization maps, their logarithms, in colour two
    planes that say how chroma was sampled, and the strength.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Restore an image.

        Args:
            x: B x in_channel x H x W in [-1, 1], pixels first, the strength in 0..1 last; H and W even.

        Returns:
            B x out_channel x H x W, about [-1, 1].
        """
        pixels, strength = x[:, : self.conv_output.out_channels], x[:, -1:]
        return pixels + strength * (super().forward(x) - pixels)


def weights_of_qcn(state: Mapping[str, Tensor], in_channel: int) -> dict[str, Tensor]:
    """The state dict of a QCN as that of a QCN+ with ``in_channel`` inputs, which does not use the further ones yet."""
    weight = state[INPUT]
    further = weight.new_zeros(weight.shape[0], in_channel - weight.shape[1], *weight.shape[2:])
    return {**state, INPUT: torch.cat([weight, further], dim=1)}
