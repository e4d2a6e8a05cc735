"""EDSR on JPEG artifacts: the paper's restoration branch without quantization maps."""

import torch
from torch import Tensor

from qgcn.nets import base


class Net(base.Network):
    """EDSR (Lim et al., CVPRW 2017) as the paper uses it: at half resolution, with one full-resolution skip.

    ::

        x -> conv_input -+-> downscale -> residual blocks -> conv_mid -> upscale -(+)-> conv_output
                         +--------------------------------------------------------+

    Args:
        in_channel: channels of the input, at least those of the image.
        out_channel: channels of the image.
        n_feats: features of every layer, F.
        n_resblocks: residual blocks, N >= 0.
        res_scale: factor of a residual block's output.
    """

    int8_parts = ("downscale", "residual", "conv_mid", "upscale")  # the pixels pass over the skip

    def __init__(
        self, *, in_channel: int, out_channel: int, n_feats: int = 64, n_resblocks: int = 64, res_scale: float = 0.1
    ):
        super().__init__()
        self.conv_input = base.conv3x3(in_channel, n_feats)
        self.downscale = base.downscale(n_feats)
        self.residual = base.residual_blocks(n_resblocks, n_feats, res_scale)
        self.conv_mid = base.conv3x3(n_feats, n_feats)
        self.upscale = base.upscale(n_feats)
        self.conv_output = base.conv3x3(n_feats, out_channel)
        self.halo = base.branch_halo(2 * n_resblocks + 2)
        self.peak_channels = 3.5 * n_feats  # measured: 3.2 F in channels_last
        base.initialise_published(self)

    def forward(self, x: Tensor) -> Tensor:
        """Restore an image.

        Args:
            x: B x in_channel x H x W in [-1, 1], pixels first; H and W even.

        Returns:
            B x out_channel x H x W, about [-1, 1].
        """
        shallow = self.conv_input(x)  # B x F x H x W
        deep = self.downscale(shallow)  # B x F x H/2 x W/2
        deep = self.conv_mid(self.residual(deep))  # B x F x H/2 x W/2
        deep = self.upscale(deep)  # B x F x H x W
        return self.conv_output(deep + shallow)  # B x out_channel x H x W

    @torch.no_grad()
    def initialise_identity(self) -> None:
        """Start as the identity on the pixels, which the published initialisation takes thousands of steps to reach.

        The first ``out_channel`` features of conv_input carry the pixels over the skip to conv_output, whose other
        weights start at zero; the deep path adds nothing to those features yet, and all of it can learn.
        """
        channels = self.conv_output.out_channels
        base.need_features(self.conv_input.out_channels, channels)
        for channel in range(channels):
            base.set_delta(self.conv_input, channel, {channel: 1.0})
            for sub_pixel in range(base.HALF**2):
                base.set_delta(self.upscale[0], base.HALF**2 * channel + sub_pixel, {})
            base.set_delta(self.conv_output, channel, {channel: 1.0})
