"""QGCN, QCN with a global branch (paper section III-C)."""

import torch
from torch import Tensor, nn

from qgcn.dataset.inputs import GLOBAL_SIZE
from qgcn.nets import base

GLOBAL_MULTIPLES = (1, 2, 4, 4)
"""Features of the global branch's four steps, as multiples of the first one's: 32, 64, 128, 128 as published."""

LIFT = 1.1
"""What `Net.initialise_identity` adds to the pixels, in [-1, 1], to bring them through a ReLU."""


def global_convolutions(in_channels: int, features: int) -> nn.Sequential:
    """Four steps, each a 4x4 convolution with stride 2 and a 3x3 one, with bias and ReLU: side 112 -> 7."""
    layers, channels = [], in_channels
    for multiple in GLOBAL_MULTIPLES:
        layers += [nn.Conv2d(channels, multiple * features, 4, stride=2, padding=1), nn.ReLU()]
        channels = multiple * features
        layers += [base.conv3x3(channels, channels, bias=True), nn.ReLU()]
    return nn.Sequential(*layers)


class Net(base.Network):
    """QGCN: a restoration branch whose features meet those of the whole image (paper section III-C, Fig. 4).

    ::

        x -> conv_input -> downscale -> residual1 -(concatenate)-> conv_res_mid -> residual2 -> conv_mid -> upscale
                                                        |                                          -> conv_output
        global image -> conv_global -> conv_global_l ---+

    Args:
        in_channel: channels of the input: pixels and quantization maps.
        out_channel: channels of the image.
        in_glo_channel: channels of the global image; a gray one is repeated if the network takes three.
        n_feats: features of every layer of the restoration branch, F.
        n_resblocks: residual blocks, N >= 0: N // 2 before the global features and the rest after them.
        res_scale: factor of a residual block's output.
        global_feats: features of the global branch's first layer (published: 32).
        global_hidden: width of its first fully connected layer (published: 1024).
    """

    def __init__(
        self,
        *,
        in_channel: int,
        out_channel: int,
        in_glo_channel: int = 3,
        n_feats: int = 64,
        n_resblocks: int = 64,
        res_scale: float = 0.1,
        global_feats: int = 32,
        global_hidden: int = 1024,
    ):
        super().__init__()
        self.in_glo_channel = in_glo_channel
        self.conv_input = base.conv3x3(in_channel, n_feats)
        self.downscale = base.downscale(n_feats)
        self.residual1 = base.residual_blocks(n_resblocks // 2, n_feats, res_scale)
        self.conv_global = global_convolutions(in_glo_channel, global_feats)
        flat = GLOBAL_MULTIPLES[-1] * global_feats * (GLOBAL_SIZE // 2 ** len(GLOBAL_MULTIPLES)) ** 2  # 6272
        self.conv_global_l = nn.Sequential(nn.Linear(flat, global_hidden), nn.ReLU(), nn.Linear(global_hidden, n_feats))
        self.conv_res_mid = base.conv3x3(2 * n_feats, n_feats, bias=True)
        self.residual2 = base.residual_blocks(n_resblocks - n_resblocks // 2, n_feats, res_scale)
        self.conv_mid = base.conv3x3(n_feats, n_feats)
        self.upscale = base.upscale(n_feats)
        self.conv_output = base.conv3x3(n_feats, out_channel)
        self.halo = base.branch_halo(2 * n_resblocks + 3)
        self.peak_channels = 2.75 * n_feats  # measured: 2.5 F in channels_last
        base.initialise_published(self)

    def forward(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Restore an image.

        Args:
            inputs: the pair of x, B x in_channel x H x W in [-1, 1], pixels first, H and W even; and of the global
                image, B x in_glo_channel (or 1) x 112 x 112 in [-1, 1].

        Returns:
            B x out_channel x H x W, about [-1, 1].
        """
        x, global_image = inputs
        features = self.local_features(x)  # B x F x H/2 x W/2
        features = self.fuse(features, self.global_features(global_image))  # B x F x H/2 x W/2
        return self.reconstruct(features)  # B x out_channel x H x W

    def local_features(self, x: Tensor) -> Tensor:
        """x, B x in_channel x H x W -> features before the global ones, B x F x H/2 x W/2."""
        return _with_skip(self.residual1, self.downscale(self.conv_input(x)))

    def global_features(self, global_image: Tensor) -> Tensor:
        """Global image, B x C x 112 x 112 -> one vector an image, B x F."""
        image = global_image.expand(-1, self.in_glo_channel, -1, -1)
        features = self.conv_global(image)  # B x 4G x 7 x 7
        return self.conv_global_l(features.flatten(1))  # channel-major, whatever the memory format

    def fuse(self, features: Tensor, global_features: Tensor) -> Tensor:
        """Concatenate the global features (B x F) to the local ones at every position and merge them to F."""
        everywhere = global_features[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return torch.relu(self.conv_res_mid(torch.cat([features, everywhere], dim=1)))

    def reconstruct(self, features: Tensor) -> Tensor:
        """Merged features, B x F x H/2 x W/2 -> image, B x out_channel x H x W; there is no full-resolution skip."""
        return self.conv_output(self.upscale(self.conv_mid(_with_skip(self.residual2, features))))

    @torch.no_grad()
    def initialise_identity(self) -> None:
        """Start as the identity on the pixels, which the published initialisation takes thousands of steps to reach.

        There is no full-resolution skip, so features of the branch carry each of the four sub-pixels of each channel.
        Through downscale's ReLU, which has no bias, a sub-pixel takes two carriers, its positive and its negative
        part; conv_res_mid's bias lifts it above zero, and one is enough from there to conv_mid. The residual blocks
        add nothing to the carriers yet, and most other features pass conv_res_mid as they are.
        """
        channels = self.conv_output.out_channels
        carriers, lifted = _carriers(channels)
        features = self.conv_input.out_channels
        base.need_features(features, carriers)
        for blocks, count in ((self.residual1, carriers), (self.residual2, lifted)):
            for block in blocks:
                block.conv2.weight[:count] = 0
        before, after = (2.0 if len(blocks) else 1.0 for blocks in (self.residual1, self.residual2))
        for channel in range(channels):
            base.set_delta(self.conv_input, channel, {channel: 1.0})
            base.set_delta(self.conv_output, channel, {channel: 1.0})
        for sub_pixel in range(lifted):
            channel, place = divmod(sub_pixel, base.HALF**2)
            row, column = divmod(place, base.HALF)
            positive, negative = 2 * sub_pixel, 2 * sub_pixel + 1
            base.set_delta(self.downscale[0], positive, {channel: 1.0}, (1 + row, 1 + column))
            base.set_delta(self.downscale[0], negative, {channel: -1.0}, (1 + row, 1 + column))
            base.set_delta(self.conv_res_mid, sub_pixel, {positive: 1 / before, negative: -1 / before})
            self.conv_res_mid.bias[sub_pixel] = LIFT
            base.set_delta(self.conv_mid, sub_pixel, {sub_pixel: 1 / after})
            base.set_delta(self.upscale[0], sub_pixel, {sub_pixel: 1.0})
            self.upscale[0].bias[sub_pixel] = -LIFT
        for feature in range(carriers, features):
            base.set_delta(self.conv_res_mid, feature, {feature: 1 / before})

    def hold_identity(self) -> bool:
        """Keep from learning what `initialise_identity` set to carry the pixels, as if there were a skip.

        The branch then learns what to add to the pixels. Otherwise every step disturbs the carriers in all layers, and
        the residual blocks, which write to them at once, learn more slowly (docs/recipes.md).
        """
        # conv_input's carriers are those of its features that are a single pixel: three in a gray network that began
        # as a colour one (training.transfer), none in one that began otherwise.
        single = (self.conv_input.weight != 0).flatten(1).sum(1) == 1
        channels = int(single.cumprod(0).sum())
        if not channels:
            return False
        carriers, lifted = _carriers(channels)
        base.hold(self.conv_input.weight, slice(channels))
        base.hold(self.downscale[0].weight, slice(carriers))
        for blocks, count in ((self.residual1, carriers), (self.residual2, lifted)):
            for block in blocks:
                base.hold(block.conv2.weight, slice(count))
        for layer in (self.conv_res_mid, self.conv_mid, self.upscale[0]):
            for parameter in layer.parameters():
                base.hold(parameter, slice(lifted))
        base.hold(self.conv_output.weight, (slice(None), slice(channels)))
        return True


def _carriers(channels: int) -> tuple[int, int]:
    """How many features carry the pixels of ``channels`` channels before conv_res_mid, and from there on."""
    return 2 * channels * base.HALF**2, channels * base.HALF**2


def _with_skip(blocks: nn.Sequential, features: Tensor) -> Tensor:
    """``features`` plus what ``blocks`` make of them; no blocks change nothing."""
    return features + blocks(features) if len(blocks) else features
