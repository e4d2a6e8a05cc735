"""Weights of another network as the start of a run (--pretrained)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from qgcn import checkpoints, nets
from qgcn.utils.errors import UserError

COLOURS = 3
MAPS = 2
"""Quantization maps in colour."""
GRAY_PLANES = {0: 0, 2: 1, 7: 3}
"""Planes beside the pixels in colour -> in gray: none, one map instead of two, or those of QCN+."""
INPUT, OUTPUT, GLOBAL_INPUT = "conv_input.weight", "conv_output.weight", "conv_global.0.weight"
"""The layers of QCN, QGCN and EDSR whose shapes depend on the colours; the last one is QGCN's alone."""


def weights_to_start_from(path: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict with which a network of kind ``name`` starts from the weights of a checkpoint.

    Those of the same network, of its colour twin for a gray one, or of the QCN for a QCN+.

    Args:
        arguments: of the network's constructor.

    Raises:
        UserError: if the checkpoint can't be read, or holds another network.
    """
    content = checkpoints.load(path)
    of_checkpoint, weights = one_global_channel(content)
    kind, source = nets.kind(name), nets.kind(content["net"])
    if kind == source and of_checkpoint == arguments:
        return weights
    if kind == source and INPUT in weights and gray_arguments(of_checkpoint) == arguments:
        return gray_weights(weights)
    same_but_input = {**of_checkpoint, "in_channel": arguments.get("in_channel")} == arguments
    if (kind, source) == (nets.NETWORKS["qmar_plus"], nets.NETWORKS["qmar"]) and same_but_input:
        return weights_of_qcn(weights, arguments["in_channel"])
    raise UserError(f"--pretrained {path!r} takes the options of its network: {_options_of(content)}")


def _options_of(content: Mapping[str, Any]) -> str:
    """The options of the command line that build a checkpoint's network."""
    options = {"net": content["net"]} | content["arguments"]
    words = [f"--{name} {value}" for name, value in options.items() if not name.endswith(("channel", "channels"))]
    gray = checkpoints.image_channels(content) == 1  # colour weights may become gray ones, but not the other way
    return " ".join(words + ["--colorMode L"] * gray)


def weights_of_qcn(state: Mapping[str, Tensor], in_channel: int) -> dict[str, Tensor]:
    """The state dict of a QCN as that of a QCN+ with ``in_channel`` inputs, which does not use the further ones yet."""
    weight = state[INPUT]
    further = weight.new_zeros(weight.shape[0], in_channel - weight.shape[1], *weight.shape[2:])
    return {**state, INPUT: torch.cat([weight, further], dim=1)}


def gray_arguments(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """The constructor arguments of the gray network beside a colour QCN, QGCN or EDSR; None for other networks."""
    planes = GRAY_PLANES.get(arguments.get("in_channel", 0) - COLOURS)
    if arguments.get("out_channel") != COLOURS or planes is None:
        return None
    gray = {"in_channel": 1 + planes, "out_channel": 1}
    if "in_glo_channel" in arguments:
        gray["in_glo_channel"] = 1
    return {**arguments, **gray}


def one_global_channel(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The arguments and state dict of a gray QGCN whose global branch takes one channel, from a checkpoint's content.

    One that takes three, as the published default of ``in_glo_channel`` makes it, sees gray in each of them; other
    networks stay as they are.
    """
    arguments, state = dict(content["arguments"]), dict(content["model"])
    if arguments.get("out_channel") == 1 and arguments.get("in_glo_channel") == COLOURS:
        arguments["in_glo_channel"] = 1
        state[GLOBAL_INPUT] = state[GLOBAL_INPUT].sum(1, keepdim=True)
    return arguments, state


def gray_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the gray network that does to a gray image what the colour one does to R = G = B.

    Its one quantization map stands for those of luminance and chrominance, so does its logarithm where there is one,
    and its output is the mean of the colours. What QCN+ makes of chroma's sampling is left out.
    """
    gray = dict(state)
    pixels, planes = state[INPUT][:, :COLOURS], state[INPUT][:, COLOURS:]
    parts = [pixels, planes[:, :MAPS]] if planes.shape[1] else [pixels]
    if planes.shape[1] > MAPS:
        parts += [planes[:, MAPS : 2 * MAPS], planes[:, -1:]]  # logarithms and the strength
    gray[INPUT] = torch.cat([part.sum(1, keepdim=True) for part in parts], dim=1)
    gray[OUTPUT] = state[OUTPUT].mean(0, keepdim=True)
    if GLOBAL_INPUT in state:
        gray[GLOBAL_INPUT] = state[GLOBAL_INPUT].sum(1, keepdim=True)
    return gray
