"""Dead features, which no input makes fire any more, get fresh weights that change nothing at first."""

from typing import Any

import torch
from torch import Tensor, nn

from nets import qmarg
from nets.base import Residual_Block


@torch.no_grad()
def revive(network: nn.Module, inputs: Any, generator: torch.Generator) -> list[str]:
    """Give what is dead in a network fresh weights to learn with; what it makes of ``inputs`` stays as it is.

    A ReLU whose input is never positive passes no gradient, so that its feature stays dead for good. Within a
    residual block such a feature is drawn anew, without what it would see of the block's mean input, so that it fires
    at about half of the positions, and weighs nothing in the second convolution. So are the hidden features of QGCN's
    global branch, and the whole branch where it is the same for all images. Features outside of both are left alone.

    Args:
        inputs: of the network, on its device, of at least two images; what is dead there counts as dead.
        generator: of the fresh weights, on the CPU.

    Returns:
        The names of the parameters that were changed.
    """
    seen: dict[Residual_Block, tuple[Tensor, Tensor]] = {}

    def look(convolution: nn.Conv2d, block_inputs: tuple[Tensor], output: Tensor) -> None:
        seen[blocks[convolution]] = block_inputs[0].mean((0, 2, 3)), (output > 0).any(3).any(2).any(0)

    blocks = {block.conv1: block for block in network.modules() if isinstance(block, Residual_Block)}
    hooks = [convolution.register_forward_hook(look) for convolution in blocks]
    try:
        network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    changed: set[nn.Module] = set()
    for block, (mean, alive) in seen.items():
        changed |= _revive_block(block, mean, ~alive, generator)
    if isinstance(network, qmarg.Net):
        changed |= _revive_global(network, inputs[1], generator)
    return [
        f"{name}.{parameter}"
        for name, module in network.named_modules()
        if module in changed
        for parameter, _ in module.named_parameters()
    ]


def _revive_block(block: Residual_Block, mean: Tensor, dead: Tensor, generator: torch.Generator) -> set[nn.Module]:
    """Draw the ``dead`` inner features of a block anew, whose input has the ``mean`` (F); what was changed."""
    if not dead.any():
        return set()
    _draw_rows(block.conv1.weight, dead, mean[:, None, None], generator)
    block.conv2.weight[:, dead] = 0
    return {block}


def _revive_global(network: nn.Module, global_image: Tensor, generator: torch.Generator) -> set[nn.Module]:
    """Draw the whole global branch anew if it sees no difference between images, and its dead hidden features."""
    if (global_image == global_image[:1]).all():
        return set()
    first, relu, last = network.conv_global_l
    image = global_image.expand(-1, network.in_glo_channel, -1, -1)
    changed: set[nn.Module] = set()
    seen = network.conv_global(image).flatten(1)
    hidden = relu(first(seen))  # B x global_hidden
    if (hidden == hidden[:1]).all():
        last.bias.copy_(last(hidden)[0])
        last.weight.zero_()
        changed = {layer for layer in (*network.conv_global, first, last) if not isinstance(layer, nn.ReLU)}
        for layer in (*network.conv_global, first):
            if layer in changed:
                _draw_rows(layer.weight, torch.ones_like(layer.bias, dtype=torch.bool), None, generator)
                layer.bias.zero_()
        seen = network.conv_global(image).flatten(1)
    dead = ~(first(seen) > 0).any(0)
    if dead.any():
        _draw_rows(first.weight, dead, seen.mean(0), generator)
        first.bias[dead] = 0
        last.weight[:, dead] = 0
        changed |= {first, last}
    return changed


def _draw_rows(weight: Tensor, rows: Tensor, mean: Tensor | None, generator: torch.Generator) -> None:
    """Draw rows of a weight anew: normal, with the variance that keeps that of what goes through a ReLU (He 2015).

    Args:
        rows: which, bool.
        mean: of the input, of which the rows shall see nothing, or None.
    """
    fresh = torch.randn(weight[rows].shape, generator=generator).to(weight) * (2 / weight[0].numel()) ** 0.5
    flat = fresh.flatten(1)
    if mean is not None:
        direction = nn.functional.normalize(mean.expand_as(weight[0]).flatten(), dim=0)
        flat -= (flat @ direction)[:, None] * direction
    weight[rows] = flat.reshape(fresh.shape)
