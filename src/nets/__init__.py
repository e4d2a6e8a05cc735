"""Networks by the names that users type: what each is called, is made of, and takes."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from nets import arcnn, edsr, qmar, qmar_plus, qmarg
from nets.base import ResidualBlocks
from utils.errors import UserError


class Kind(NamedTuple):
    """One kind of network.

    Attributes:
        title: its name in the paper.
        network: its class.
        loader: the name of its input in the package dataset.
    """

    title: str
    network: type[nn.Module]
    loader: str


NETWORKS = {
    "qmar": Kind("QCN", qmar.Net, "jpeg_qm"),
    "qmarg": Kind("QGCN", qmarg.Net, "jpeg_qmg"),
    "edsr": Kind("EDSR", edsr.Net, "jpeg"),
    "arcnn": Kind("AR-CNN", arcnn.ARCNN, "jpeg"),
    "arcnn-FastARCNN": Kind("Fast AR-CNN", arcnn.FastARCNN, "jpeg"),
    "qmar_plus": Kind("QCN+", qmar_plus.Net, "jpeg_qm_plus"),
}
"""Name on the command line -> kind. 'file-Class' names a class other than the file's first."""

ALIASES = {"qmar-Net": "qmar", "qmarg-Net": "qmarg", "edsr-Net": "edsr", "arcnn-ARCNN": "arcnn"}
"""The published 'file-Class' spelling of the others."""


def kind(name: str) -> Kind:
    """The kind of network called ``name``; raises UserError listing the valid names."""
    try:
        return NETWORKS[ALIASES.get(name, name)]
    except KeyError:
        raise UserError(f"the network {name!r} is unknown: choose --net from {', '.join(NETWORKS)}") from None


def arguments(options: Namespace, image_channels: int, map_channels: int) -> dict[str, Any]:
    """The constructor arguments that training options stand for.

    Args:
        options: parsed by params.training_parser.
        image_channels: 3 or 1; it wins over n_colors and in_glo_channel, whose published default of 3 fits colour.
        map_channels: planes beside the pixels (dataset.map_channels).

    Raises:
        UserError: if --in_channel or --out_channel contradicts the data.
    """
    network = kind(options.net).network
    if network in (arcnn.ARCNN, arcnn.FastARCNN):
        return {"channels": image_channels}
    for option, value, needed in (
        ("--in_channel", options.in_channel, image_channels + map_channels),
        ("--out_channel", options.out_channel, image_channels),
        ("--n_colors", options.n_colors if image_channels == 3 else 1, image_channels),
    ):
        if value not in (0, needed):
            raise UserError(f"{option} {value} does not fit the data, which have {needed}: leave it out")
    chosen = {
        "in_channel": image_channels + map_channels,
        "out_channel": image_channels,
        "n_feats": options.n_feats,
        "n_resblocks": options.n_resblocks,
        "res_scale": options.res_scale,
    }
    if network is qmarg.Net:
        if options.in_glo_channel not in (3, image_channels):
            raise UserError(f"--in_glo_channel {options.in_glo_channel} does not fit colour images: leave it out")
        chosen["in_glo_channel"] = image_channels
        chosen["global_feats"] = options.global_feats
        chosen["global_hidden"] = options.global_hidden
    return chosen


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """A new network of kind ``name``, initialised as published."""
    return kind(name).network(**arguments)


def initialise(network: nn.Module, start: str) -> None:
    """Apply --init: 'published' leaves a new network as it is, 'identity' makes it start as the identity.

    Raises:
        UserError: for another name, or a network without an identity start.
    """
    if start not in ("published", "identity"):
        raise UserError(f"--init {start!r} is unknown: choose published or identity")
    if start == "identity":
        if not hasattr(network, "initialise_identity"):
            raise UserError("--init identity has no way through Fast AR-CNN: leave it out")
        network.initialise_identity()


def hold_identity(network: nn.Module) -> None:
    """Apply --hold_identity: what --init identity sets to carry the pixels stays as it is in training.

    Raises:
        UserError: for a network other than QGCN, or one that nothing carries the pixels through.
    """
    if not hasattr(network, "hold_identity"):
        raise UserError("--hold_identity is for QGCN: the other networks don't need it, leave it out")
    network.hold_identity()


def recompute_activations(network: nn.Module) -> None:
    """Apply --checkpoint_activations: less memory in training for a second forward pass through residual blocks.

    Raises:
        UserError: for a network without residual blocks.
    """
    rows = [module for module in network.modules() if isinstance(module, ResidualBlocks)]
    if not rows:
        raise UserError("--checkpoint_activations works on residual blocks: leave it out for AR-CNN")
    for module in rows:
        module.recompute = True


def parameter_count(network: nn.Module) -> int:
    """How many numbers the network has learnt."""
    return sum(parameter.numel() for parameter in network.parameters())


def infer_arguments(name: str, state: Mapping[str, Tensor], res_scale: float) -> dict[str, Any]:
    """The constructor arguments of a network whose published checkpoint has the state dict ``state``.

    Shapes say everything but ``res_scale``; the published program's own options don't (an odd n_resblocks loses a
    block there). Raises KeyError if the state dict is another network's.
    """
    network = kind(name).network
    if network in (arcnn.ARCNN, arcnn.FastARCNN):
        return {"channels": state["base.0.weight"].shape[1]}
    features, in_channel = state["conv_input.weight"].shape[:2]
    blocks = {key.rsplit(".", 2)[0] for key in state if key.startswith("residual")}
    chosen = {
        "in_channel": in_channel,
        "out_channel": state["conv_output.weight"].shape[0],
        "n_feats": features,
        "n_resblocks": len(blocks),
        "res_scale": res_scale,
    }
    if network is qmarg.Net:
        chosen["global_feats"], chosen["in_glo_channel"] = state["conv_global.0.weight"].shape[:2]
        chosen["global_hidden"] = state["conv_global_l.0.weight"].shape[0]
    return chosen
