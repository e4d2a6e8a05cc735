"""The residual block, the published initialisation and the identity start that QCN, QGCN and EDSR share."""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from utils.errors import UserError

HALF = 2
"""Factor by which the restoration branch reduces height and width."""


class Residual_Block(nn.Module):
    """EDSR's residual block: x + res_scale * conv2(relu(conv1(x))), 3x3 convolutions without bias."""

    def __init__(self, n_feats: int, res_scale: float = 0.1):
        super().__init__()
        self.conv1 = conv3x3(n_feats, n_feats)
        self.relu = nn.ReLU()
        self.conv2 = conv3x3(n_feats, n_feats)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Map features B x F x H x W to the same shape."""
        return x + self.res_scale * self.conv2(self.relu(self.conv1(x)))


def conv3x3(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)


def downscale(n_feats: int) -> nn.Sequential:
    """Halve height and width: 4x4 convolution with stride 2, ReLU."""
    return nn.Sequential(nn.Conv2d(n_feats, n_feats, 4, stride=HALF, padding=1, bias=False), nn.ReLU())


def upscale(n_feats: int) -> nn.Sequential:
    """Double height and width: 3x3 convolution to 4F features, sub-pixel shuffle (Shi et al., CVPR 2016)."""
    return nn.Sequential(conv3x3(n_feats, HALF**2 * n_feats, bias=True), nn.PixelShuffle(HALF))


def branch_halo(convolutions: int) -> int:
    """The reach, in pixels, of a restoration branch with so many 3x3 convolutions at half resolution.

    To either side: conv_output 1, then ``convolutions`` positions of two pixels, then downscale's four taps and
    conv_input 1; at worst 2 pixels more, since two output pixels share a position.
    """
    return HALF * convolutions + 4


class ResidualBlocks(nn.Sequential):
    """``count`` >= 0 residual blocks in a row.

    With ``recompute`` set, training keeps the features between about sqrt(count) segments, and within the last one,
    alone and computes the others once more for the backward pass (Chen et al., arXiv 1604.06174).
    """

    recompute = False

    def __init__(self, count: int, n_feats: int, res_scale: float):
        super().__init__(*(Residual_Block(n_feats, res_scale) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """Map features B x F x H x W to the same shape."""
        if self.recompute and len(self) and torch.is_grad_enabled():
            return checkpoint_sequential(self, round(math.sqrt(len(self))), x, use_reentrant=False)
        return super().forward(x)


Stream = tuple[nn.Conv2d, ResidualBlocks, nn.Conv2d]
"""Residual blocks, between the layer that writes the features that they add to and the layer that reads the sum.

Nothing else writes or reads these features, and a ReLU at most lies between. The last layer may have further inputs,
behind these.
"""


def initialise_published(network: nn.Module) -> None:
    """The published initialisation: Conv2d normal with std sqrt(2 / (k * k * out_channels)), bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def set_delta(convolution: nn.Conv2d, output: int, taps: dict[int, float], at: tuple[int, int]) -> None:
    """Make feature ``output`` the sum of ``taps`` (input feature -> factor) at kernel position ``at``, bias 0."""
    convolution.weight[output] = 0
    for feature, factor in taps.items():
        convolution.weight[output, feature, *at] = factor
    if convolution.bias is not None:
        convolution.bias[output] = 0


def hold(parameter: nn.Parameter, where: slice | tuple[slice, ...]) -> None:
    """Keep the entries ``where`` of a parameter as they are: their gradient is zero from now on."""
    mask = torch.ones_like(parameter)
    mask[where] = 0
    parameter.register_hook(lambda gradient: gradient * mask)


def need_features(n_feats: int, carriers: int) -> None:
    """Raise UserError if ``n_feats`` features can't hold the ``carriers`` of an identity start."""
    if n_feats < carriers:
        raise UserError(f"--init identity takes at least {carriers} features here: --n_feats is {n_feats}")
