"""QCN+, this project's QCN for the files that people have: it is told more of what a file says."""

from torch import Tensor

from qgcn.nets import edsr


class Net(edsr.Net):
    """QCN with more maps, one of which scales its change of the pixels (dataset.inputs; not in the paper).

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
