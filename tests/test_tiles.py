"""Restoring one image: tiles, sizes, types."""

import numpy as np
import pytest
import torch
from conftest import network_arguments

from qgcn import nets
from qgcn.dataset.inputs import get_input
from qgcn.jpeg.codec import Compressed, PillowCodec
from qgcn.restoring.tiles import MIN_TILE, restore_image, tile_halo, tile_side, to_bytes
from qgcn.utils.errors import UserError

CPU = torch.device("cpu")


def restored(name, compressed, channels, *, identity=False, **keywords):
    torch.manual_seed(0)
    network = nets.build(name, network_arguments(name, channels))
    if identity:
        network.initialise_identity()
    elif not name.startswith("arcnn"):
        network.initialise_identity()  # near the image, so that values are not all clipped
        for parameter in network.parameters():
            parameter.data += 0.01 * torch.randn_like(parameter)
    loader = get_input(nets.kind(name).input)
    return restore_image(network, loader, compressed, device=CPU, **{"tile": 1024} | keywords)


@pytest.mark.parametrize(("height", "width"), [(200, 168), (131, 205), (96, 64)])
@pytest.mark.parametrize("name", list(nets.NETWORKS))
def test_tiles_equal_the_whole_image(photo, name, height, width):
    compressed = PillowCodec().compress(photo[:height, :width], 10)
    whole = restored(name, compressed, 3)
    tiled = restored(name, compressed, 3, tile=48)
    assert np.abs(tiled - whole).max() / 255 < 1e-4
    eight = restored(name, compressed, 3, tile=48, dtype=np.uint8)
    assert np.array_equal(eight, to_bytes(tiled))
    over = Compressed(compressed.pixels.copy(), compressed.tables)
    assert restored(name, over, 3, tile=48, dtype=np.uint8, in_place=True) is over.pixels
    assert np.array_equal(over.pixels, eight)
    assert whole.std() > 0.1 and whole.shape == (height, width, 3) and whole.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (17, 64)])
@pytest.mark.parametrize(("name", "channels"), [("qmar", 3), ("qmarg", 1), ("qmarg", 3), ("edsr", 1)])
def test_the_identity_returns_the_compressed_image_of_any_size(photo, name, channels, shape):
    compressed = PillowCodec().compress(photo[: shape[0], : shape[1], :channels], 30)
    result = restored(name, compressed, channels, identity=True)
    assert np.array_equal(to_bytes(result), compressed.pixels)
    assert np.abs(result - compressed.pixels).max() < 1e-3


def test_results_come_as_8_or_16_bits_too(photo):
    compressed = PillowCodec().compress(photo[:64, :64], 10)
    exact = restored("qmar", compressed, 3)
    eight, sixteen = (restored("qmar", compressed, 3, dtype=dtype) for dtype in (np.uint8, np.uint16))
    assert eight.dtype == np.uint8 and np.array_equal(eight, to_bytes(exact))
    assert sixteen.dtype == np.uint16 and np.abs(sixteen / 257.0 - exact).max() <= 0.5 / 257 + 1e-4


def test_an_image_that_may_not_be_written_to_is_no_trouble(photo, recwarn):
    compressed = PillowCodec().compress(photo[:16, :16, :1], 10)
    compressed.pixels.flags.writeable = False
    restored("qmar", Compressed(compressed.pixels, compressed.tables), 1)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["qmar", "qmarg"])
def test_a_tile_takes_the_memory_it_is_given(name):
    network = nets.build(name, network_arguments(name, n_feats=64, n_resblocks=8))
    for memory in (1e8, 2.5e8, 1e9):
        tile = tile_side(network, memory)
        taken = 4 * network.peak_channels * (tile + 2 * tile_halo(network)) ** 2
        assert tile % 8 == 0 and 0.9 * memory < taken <= memory
    # the default is no smaller than what keeps the halo's share of the work at three quarters
    deep = nets.build(name, network_arguments(name, n_feats=64, n_resblocks=64))
    assert tile_side(deep, None) >= 2 * tile_halo(deep) > MIN_TILE
    with pytest.raises(UserError, match=r"--memory 1M is too little for this network: it takes \d+M or more"):
        tile_side(network, 1e6)
