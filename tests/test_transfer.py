"""Weights of one network as the start of another: gray from colour, QCN+ from QCN."""

import pytest
import torch
from conftest import network_arguments

from qgcn import nets
from qgcn.training.transfer import gray_arguments, gray_weights, one_global_channel, weights_of_qcn


@torch.no_grad()
def test_a_gray_network_with_a_colour_global_branch_becomes_one_with_a_gray_one():
    arguments = network_arguments("qmarg", 1) | {"in_glo_channel": 3}
    network = nets.build("qmarg", arguments).double()
    x, image = torch.rand(2, 2, 16, 16, dtype=torch.float64), torch.rand(2, 1, 112, 112, dtype=torch.float64)
    ours, weights = one_global_channel({"arguments": arguments, "model": network.state_dict()})
    assert ours == network_arguments("qmarg", 1)
    other = nets.build("qmarg", ours).double()
    other.load_state_dict(weights)
    assert torch.allclose(network((x, image)), other((x, image)), rtol=0, atol=1e-12)
    colour = {"arguments": network_arguments("qmarg", 3), "model": {"conv_global.0.weight": x}}
    assert one_global_channel(colour) == (colour["arguments"], colour["model"])


@pytest.mark.parametrize("name", ["qmar", "qmarg", "edsr"])
def test_gray_weights_do_to_a_gray_image_what_the_colour_network_does_to_equal_colours(name):
    torch.manual_seed(3)
    maps = 0 if name == "edsr" else 2
    arguments = {"in_channel": 3 + maps, "out_channel": 3, "n_feats": 8, "n_resblocks": 3, "res_scale": 0.5}
    if name == "qmarg":
        arguments |= {"in_glo_channel": 3, "global_feats": 2, "global_hidden": 5}
    colour = nets.build(name, arguments)
    gray = nets.build(name, gray_arguments(arguments))
    gray.load_state_dict(gray_weights(colour.state_dict()))
    pixels, table, whole = torch.rand(2, 1, 16, 24), torch.rand(2, 1, 16, 24), torch.rand(2, 1, 112, 112)
    of_colour = torch.cat([pixels.expand(-1, 3, -1, -1), table.expand(-1, maps, -1, -1)], 1)
    of_gray = torch.cat([pixels, table], 1) if maps else pixels
    pair = (lambda x: (x, whole)) if name == "qmarg" else (lambda x: x)
    expected = colour(pair(of_colour)).mean(1, keepdim=True)
    assert torch.allclose(gray(pair(of_gray)), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [3, 1])
def test_qcn_plus_starts_from_a_qcn_as_that_qcn(channels):
    torch.manual_seed(1)
    plain = nets.build("qmar", network_arguments("qmar", channels))
    arguments = network_arguments("qmar_plus", channels)
    plus = nets.build("qmar_plus", arguments)
    assert plus.conv_input.in_channels == {3: 10, 1: 4}[channels]
    assert plus.state_dict().keys() == plain.state_dict().keys()
    plus.load_state_dict(weights_of_qcn(plain.state_dict(), arguments["in_channel"]))
    x = torch.rand(3, arguments["in_channel"], 16, 16) * 2 - 1
    strengths = torch.tensor([1, 0.5, 0])
    x[:, -1] = strengths[:, None, None]
    pixels, restored = x[:, :channels], plain(x[:, : plain.conv_input.in_channels])
    expected = pixels + strengths[:, None, None, None] * (restored - pixels)
    assert torch.allclose(plus(x), expected, atol=1e-6) and torch.equal(plus(x)[2], pixels[2])


def test_the_gray_network_of_a_qcn_plus_does_the_same_but_for_sampling():
    torch.manual_seed(3)
    arguments = network_arguments("qmar_plus")
    colour, gray = nets.build("qmar_plus", arguments), nets.build("qmar_plus", gray_arguments(arguments))
    assert gray.conv_input.in_channels == 4
    gray.load_state_dict(gray_weights(colour.state_dict()))
    pixels, table, logarithm, strength = torch.rand(4, 2, 1, 16, 24)
    both = [plane.expand(-1, 2, -1, -1) for plane in (table, logarithm, torch.zeros_like(table))]
    expected = colour(torch.cat([pixels.expand(-1, 3, -1, -1), *both, strength], 1)).mean(1, keepdim=True)
    assert torch.allclose(gray(torch.cat([pixels, table, logarithm, strength], 1)), expected, atol=1e-5)


def test_ar_cnn_and_gray_networks_have_no_gray_network_beside_them():
    assert gray_arguments({"channels": 3}) is None
    assert gray_arguments({"in_channel": 2, "out_channel": 1}) is None
