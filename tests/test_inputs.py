"""What goes into the networks."""

import numpy as np
import pytest
import torch
from skimage.transform import resize

from qgcn.dataset.inputs import get_input, log_scale, scale, strength, unscale
from qgcn.jpeg.codec import PillowCodec
from qgcn.jpeg.tables import standard_tables
from qgcn.utils.errors import UserError

HALVED = torch.tensor([[2, 2]], dtype=torch.uint8)


def tensors(compressed):
    return torch.tensor(compressed.pixels).permute(2, 0, 1)[None], torch.tensor(compressed.tables)[None]


def test_bytes_are_scaled_to_plus_minus_one_and_back():
    values = torch.arange(256, dtype=torch.uint8)
    scaled = scale(values)
    assert scaled.dtype == torch.float32 and (scaled[0], scaled[255]) == (-1, 1)
    torch.testing.assert_close(scaled[51], torch.tensor((51 / 255 - 0.5) / 0.5))
    assert torch.equal(unscale(scaled).round().byte(), values)


@pytest.mark.parametrize(("channels", "loader", "planes"), [(3, "jpeg", 3), (3, "jpeg_qm", 5), (1, "jpeg_qm", 2)])
def test_pixels_come_first_then_luminance_then_chrominance(photo, channels, loader, planes):
    compressed = PillowCodec().compress(photo[:24, :40, :channels], 20)
    x = get_input(loader).network_input(*tensors(compressed), None)[0]
    assert x.shape == (planes, 24, 40) and get_input(loader).planes[channels] == planes - channels
    for c in range(channels):
        assert np.allclose(x[c], (compressed.pixels[..., c] / 255 - 0.5) / 0.5, atol=1e-6)
    for i in range(planes - channels):
        expected = np.tile(compressed.tables[i], (3, 5))
        assert np.allclose(x[channels + i], (expected / 255 - 0.5) / 0.5, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("reduction", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_qcn_plus_is_told_logarithms_sampling_and_strength_besides(photo, channels, reduction):
    compressed = PillowCodec().compress(photo[:24, :40, :channels], 95)
    pixels, tables = tensors(compressed)
    plus = get_input("jpeg_qm_plus")
    x = plus.network_input(pixels, tables, plus.whole_image(pixels, torch.tensor([reduction], dtype=torch.uint8)))[0]
    plain = get_input("jpeg_qm").network_input(pixels, tables, None)[0]
    count = {3: 2, 1: 1}[channels]
    assert x.shape == (channels + get_input("jpeg_qm_plus").planes[channels], 24, 40)
    assert torch.equal(x[: channels + count], plain)
    for i in range(count):
        expected = np.tile(np.log2(compressed.tables[i].astype(float)) / 4 - 1, (3, 5))
        assert np.allclose(x[channels + count + i], expected, atol=1e-6)
    expected = min(1, np.sqrt(np.mean(compressed.tables.astype(float) ** 2)) / 14)
    assert 0.4 < expected < 0.7
    if channels == 3:
        rows, columns = (1 if by == 2 else -1 for by in reduction)
        assert (x[-3] == rows).all() and (x[-2] == columns).all()
        expected = min(1, np.sqrt(expected**2 + reduction.count(2) / 2))
    assert np.allclose(x[-1], expected, atol=1e-6)


def test_the_strength_of_coarse_tables_is_1():
    for tables in (standard_tables(85), standard_tables(1), np.full((2, 8, 8), 14)):
        assert strength(torch.tensor(tables)[None], None).tolist() == [[1]]
    both = torch.stack([torch.full((2, 8, 8), step, dtype=torch.uint8) for step in (7, 1)])
    torch.testing.assert_close(strength(both, torch.full((2, 2), -1.0)), torch.tensor([[0.5], [1 / 14]]))


def test_logarithms_lie_where_the_pixels_do():
    steps = torch.tensor([1, 2, 16, 128, 255], dtype=torch.uint8)
    expected = torch.tensor([-1, -0.75, 0, 0.75, 0.9986])
    torch.testing.assert_close(log_scale(steps), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(64, 64), (301, 97), (40, 200)])
@pytest.mark.parametrize("channels", [3, 1])
def test_the_global_image_is_the_resized_compressed_image(photo, shape, channels):
    compressed = PillowCodec().compress(photo[: shape[0], : shape[1], :channels], 10)
    loader = get_input("jpeg_qmg")
    pixels, tables = tensors(compressed)
    x, image = loader.network_input(pixels, tables, loader.whole_image(pixels, HALVED))
    expected = (resize(compressed.pixels, (112, 112), order=3) - 0.5) / 0.5
    assert image.shape == (1, channels, 112, 112) and image.dtype == torch.float32
    assert np.abs(image[0].permute(1, 2, 0).numpy() - expected).max() < 2e-6
    assert torch.equal(x, get_input("jpeg_qm").network_input(pixels, tables, None))


def test_an_unknown_loader_is_told():
    with pytest.raises(UserError, match="'png' is unknown: choose from jpeg, jpeg_qm, jpeg_qmg"):
        get_input("png")
