"""Scaling features between layers, so that 8 bits suit a network that computes what it did."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def balance(network: nn.Module, inputs: list[tuple[Tensor, ...]]) -> None:
    """Scale, in place, the features of residual blocks to ranges that 8 bits suit.

    In 8 bits all features of a layer share one step, set by the largest: in QGCN they reach 272, where those that
    carry the pixels stay below 3. A feature is divided by a factor where it is written, and its weights are multiplied
    by it where it is read, which changes nothing, with a ReLU between or not (Nagel et al., ICCV 2019, section 4.1).
    The factors make a feature as large as the weights that read it (Xiao et al., ICML 2023, equation 4, alpha 0.5),
    rounded to powers of two, so that even in floating point the results stay the same, bit by bit.

    Args:
        network: one with `streams` (nets.edsr, nets.qmarg), in evaluation mode.
        inputs: of the network, one tuple a call; they show which values occur.
    """
    largest: dict[nn.Conv2d, Tensor] = {}  # of each layer's input, a feature

    def look(layer: nn.Conv2d, seen: tuple[Tensor], _: Tensor) -> None:
        found = seen[0].abs().amax((0, 2, 3))
        largest[layer] = torch.maximum(largest.get(layer, found), found)

    streams = network.streams
    layers = [layer for _, blocks, after in streams for block in blocks for layer in (block.conv1, block.conv2)]
    hooks = [layer.register_forward_hook(look) for layer in (*layers, *(after for _, _, after in streams))]
    try:
        for given in inputs:
            network(given if len(given) > 1 else given[0])
    finally:
        for hook in hooks:
            hook.remove()
    for before, blocks, after in streams:
        for block in blocks:
            _scale([block.conv1], [block.conv2], largest)
        if len(blocks):
            _scale([before, *(block.conv2 for block in blocks)], [*(block.conv1 for block in blocks), after], largest)


def _scale(writers: list[nn.Conv2d], readers: list[nn.Conv2d], largest: dict[nn.Conv2d, Tensor]) -> None:
    """Divide the features that ``writers`` write, the first ones that ``readers`` read, and multiply the weights."""
    features = writers[0].out_channels
    values = torch.stack([largest[reader][:features] for reader in readers]).amax(0)
    weights = torch.stack([reader.weight[:, :features].abs().amax((0, 2, 3)) for reader in readers]).amax(0)
    factors = (values / weights).sqrt().log2().round().exp2()
    factors = torch.where((values > 0) & (weights > 0), factors, 1.0)  # features that are zero, or that nothing reads
    for writer in writers:
        writer.weight /= factors[:, None, None, None]
        if writer.bias is not None:
            writer.bias /= factors
    for reader in readers:
        reader.weight[:, :features] *= factors[:, None, None]
