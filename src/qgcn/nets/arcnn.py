"""AR-CNN and Fast AR-CNN (Dong et al., "Compression Artifacts Reduction ...", ICCV 2015)."""

import torch
from torch import Tensor, nn

from qgcn.nets.base import Network, set_delta


def _initialise(network: nn.Module) -> None:
    """AR-CNN's initialisation: convolution weights normal with std 0.001, the rest as PyTorch does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.001)


class ARCNN(Network):
    """AR-CNN: feature extraction, enhancement, mapping and reconstruction with ``channels`` image channels."""

    halo = 4 + 3 + 2  # half of 9, 7 and 5
    peak_channels = 2 * 64 + 6

    def __init__(self, *, channels: int = 3):
        super().__init__()
        self.base = nn.Sequential(
            nn.Conv2d(channels, 64, 9, padding=4),
            nn.PReLU(),
            nn.Conv2d(64, 32, 7, padding=3),
            nn.PReLU(),
            nn.Conv2d(32, 16, 1),
            nn.PReLU(),
        )
        self.last = nn.Conv2d(16, channels, 5, padding=2)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image B x channels x H x W in [-1, 1] to the restored one of the same shape."""
        return self.last(self.base(x))

    @torch.no_grad()
    def initialise_identity(self) -> None:
        """Start as the identity on the pixels, from which short runs gain at once.

        Each channel takes two carrier features in every layer, v and -v. A PReLU of slope s makes of them what differs
        by (1 + s) v, so that the next layer finds v again. The other features start as PyTorch does, and the last
        layer's weights on them at zero.
        """
        layers = [*self.base, self.last]
        for convolution in layers[::2]:
            convolution.reset_parameters()
        self.last.weight.zero_()
        for channel in range(self.last.out_channels):
            pair = (2 * channel, 2 * channel + 1)
            found = {channel: 1.0}  # what adds up to the channel's pixels in the layer before
            for convolution, prelu in zip(layers[:-1:2], layers[1::2], strict=True):
                for feature, sign in zip(pair, (1, -1), strict=True):
                    set_delta(convolution, feature, {key: sign * value for key, value in found.items()})
                gain = 1 / (1 + prelu.weight.item())
                found = {pair[0]: gain, pair[1]: -gain}
            set_delta(self.last, channel, found)


class FastARCNN(Network):
    """Fast AR-CNN: the same at half resolution, brought back by a transposed convolution; H and W even."""

    halo = 4 + 2 * 3 + 4  # 9x9 with stride 2, 7x7 at half resolution, transposed 9x9
    peak_channels = 2 * 64 / 4 + 6

    def __init__(self, *, channels: int = 3):
        super().__init__()
        self.base = nn.Sequential(
            nn.Conv2d(channels, 64, 9, stride=2, padding=4),
            nn.PReLU(),
            nn.Conv2d(64, 32, 1),
            nn.PReLU(),
            nn.Conv2d(32, 32, 7, padding=3),
            nn.PReLU(),
            nn.Conv2d(32, 64, 1),
            nn.PReLU(),
        )
        self.last = nn.ConvTranspose2d(64, channels, 9, stride=2, padding=4, output_padding=1)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map an image B x channels x H x W in [-1, 1] to the restored one of the same shape."""
        return self.last(self.base(x))
