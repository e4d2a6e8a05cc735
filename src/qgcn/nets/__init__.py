"""Networks by the names that users type: what each is called, is made of, and takes.

A new network is one file, with a subclass of `base.Network`, and one line of NETWORKS.
"""

from argparse import Namespace
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any, NamedTuple

import torch
from torch import nn

from qgcn.dataset.inputs import get_input
from qgcn.nets import arcnn, edsr, qmar, qmarg
from qgcn.nets.base import Network
from qgcn.utils.errors import UserError, check_choice, choose


class Kind(NamedTuple):
    """One kind of network."""

    title: str  # its name in the paper
    network: type[Network]
    input: str  # the name of its input, of `dataset.inputs.INPUTS`


NETWORKS = {
    "qmar": Kind("QCN", qmar.Net, "jpeg_qm"),
    "qmarg": Kind("QGCN", qmarg.Net, "jpeg_qmg"),
    "edsr": Kind("EDSR", edsr.Net, "jpeg"),
    "arcnn": Kind("AR-CNN", arcnn.ARCNN, "jpeg"),
    "arcnn-FastARCNN": Kind("Fast AR-CNN", arcnn.FastARCNN, "jpeg"),
    "qmar_plus": Kind("QCN+", qmar.PlusNet, "jpeg_qm_plus"),
}
"""Name on the command line -> kind. 'file-Class' names a class other than the file's first."""

ALIASES = {"qmar-Net": "qmar", "qmarg-Net": "qmarg", "edsr-Net": "edsr", "arcnn-ARCNN": "arcnn"}
"""The published 'file-Class' spelling of the others."""


def kind(name: str) -> Kind:
    """The kind of network called ``name``; raises UserError listing the valid names."""
    return choose(NETWORKS, ALIASES.get(name, name), "--net")


def arguments(options: Namespace, image_channels: int) -> dict[str, Any]:
    """The constructor arguments that training options stand for: those of its parameters that are known.

    Args:
        options: parsed by params.training_parser.
        image_channels: 3 or 1; it wins over n_colors and in_glo_channel, whose published default of 3 fits colour.

    Raises:
        UserError: if an option contradicts the data.
    """
    chosen = kind(options.net)
    names = signature(chosen.network).parameters
    in_channel = image_channels + get_input(chosen.input).planes[image_channels]
    of_the_data = dict.fromkeys(("channels", "out_channel", "in_glo_channel"), image_channels)
    of_the_data["in_channel"] = in_channel
    colors = options.n_colors if image_channels == 3 else 1
    for option, value, allowed, name in (
        ("in_channel", options.in_channel, {0, in_channel}, "in_channel"),
        ("out_channel", options.out_channel, {0, image_channels}, "out_channel"),
        ("n_colors", colors, {image_channels}, "out_channel"),
        ("in_glo_channel", options.in_glo_channel, {3, image_channels}, "in_glo_channel"),
    ):
        if name in names and value not in allowed:
            raise UserError(f"--{option} {value} does not fit the data, which have {of_the_data[name]}: leave it out")
    known = {name: getattr(options, name) for name in names if hasattr(options, name)}
    known |= {name: channels for name, channels in of_the_data.items() if name in names}
    for name in names.keys() - known:
        if names[name].default is Parameter.empty:
            raise UserError(f"--net {options.net} needs {name!r}, for which there is no option: give it a default")
    return known


def build(name: str, arguments: Mapping[str, Any]) -> Network:
    """A new network of kind ``name``, initialised as published."""
    return kind(name).network(**arguments)


def initialise(network: Network, start: str) -> None:
    """Apply --init: 'published' leaves a new network as it is, 'identity' makes it start as the identity.

    Raises:
        UserError: for another name, or a network without an identity start.
    """
    if check_choice(start, ("published", "identity"), "--init") == "identity":
        network.initialise_identity()


@torch.inference_mode()
def check(name: str, network: Network, channels: int) -> None:
    """Try a new network on blank images, so that what it lacks shows before training starts.

    Args:
        channels: of the images.

    Raises:
        UserError: if it does not offer what `base.Network` says, or returns another shape than the image's.
    """
    network.eval()
    chosen = get_input(kind(name).input)
    tables = torch.ones(1, min(channels, 2), 8, 8, dtype=torch.uint8)
    for size in ((16, 16), (24, 32)):
        pixels = torch.zeros(1, channels, *size, dtype=torch.uint8)
        try:
            inputs = chosen.assemble(pixels, tables, torch.full((1, 2), 2, dtype=torch.uint8))
            shape = tuple(network(inputs).shape)
        except Exception as error:  # a new network may fail in any way
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"--net {name} does not run on its input {kind(name).input}: {reason}") from None
        if shape != pixels.shape:
            image = tuple(pixels.shape)
            raise UserError(f"--net {name} makes {shape} of an image of shape {image}: both must be the same")
    if not isinstance(getattr(network, "halo", None), int) or network.halo <= 0 or network.peak_channels <= 0:
        raise UserError(f"--net {name} has no halo, a whole number of pixels above 0, which nets/base.py describes")
    if not parameter_count(network):
        raise UserError(f"--net {name} has nothing to learn")


def parameter_count(network: nn.Module) -> int:
    """How many numbers the network has learnt."""
    return sum(parameter.numel() for parameter in network.parameters())
