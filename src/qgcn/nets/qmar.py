"""QCN, the paper's network on pixels and quantization maps, and QCN+, which is told more of what a file says."""

from torch import Tensor

from qgcn.nets import edsr


class Net(edsr.Net):
    """QCN: the restoration branch with quantization maps as further input channels (paper section III-B, Fig. 3).

    ``in_channel`` is 3 + 2 in colour and 1 + 1 in gray: pixels, then one map for each quantization table.
    """


class PlusNet(edsr.Net):
    """QCN with more maps, one of which scales its change of the pixels (dataset.inputs; not in the paper).

    ``in_channel`` is 3 + 7 in colour and 1 + 3 in gray: pixels, quantization maps, their logarithms, in colour two
    planes that say how chroma was sampled, and the strength.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Restore an image as EDSR does; the last plane of ``x`` is the strength, 0..1."""
        pixels, strength = x[:, : self.conv_output.out_channels], x[:, -1:]
        return pixels + strength * (super().forward(x) - pixels)
