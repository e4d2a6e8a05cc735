"""What a network offers, and the parts that QCN, QGCN and EDSR share."""

import math
from functools import cached_property

import torch
from torch import Tensor, nn

from qgcn.utils.errors import UserError

HALF = 2
"""Factor by which the restoration branch reduces height and width."""


class Network(nn.Module):
    """A network that restores images.

    Attributes:
        halo: how far from an output pixel, in pixels, the input (of the restoration branch) can still change it.
        int8_parts: the children that may be computed in 8 bits: those that make the correction, none that carry the
            pixels. Rounding the pixels to 8 bits costs 0.1 to 0.5 dB, rounding the correction about 0.01 dB
            (benchmarks/int8.py).
    """

    halo: int
    int8_parts: tuple[str, ...] = ()

    @cached_property
    def peak_channels(self) -> float:
        """Values a pixel that are in memory at once in restoring, at most; a guess if a network does not say."""
        return 4.0 * max((module.out_channels for module in self.modules() if isinstance(module, nn.Conv2d)), default=1)

    def initialise_identity(self) -> None:
        """Start as the identity on the pixels; raises UserError for a network that has no way to."""
        raise UserError("--init identity has no way through this network: leave it out")

    def hold_identity(self) -> bool:
        """Keep from learning what `initialise_identity` set, where a network learns better so; False if nothing is set.

        Called before training, on the final device, with the weights to begin with.
        """
        return True


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


def residual_blocks(count: int, n_feats: int, res_scale: float) -> nn.Sequential:
    """``count`` >= 0 residual blocks in a row; none change nothing."""
    return nn.Sequential(*(Residual_Block(n_feats, res_scale) for _ in range(count)))


def initialise_published(network: nn.Module) -> None:
    """The published initialisation: Conv2d normal with std sqrt(2 / (k * k * out_channels)), bias 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def set_delta(convolution: nn.Conv2d, output: int, taps: dict[int, float], at: tuple[int, int] | None = None) -> None:
    """Make feature ``output`` the sum of ``taps`` (input feature -> factor), by default at the centre, with bias 0."""
    convolution.weight[output] = 0
    for feature, factor in taps.items():
        convolution.weight[output, feature, *(at or (side // 2 for side in convolution.kernel_size))] = factor
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
