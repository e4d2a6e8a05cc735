"""What goes into the networks, and scikit-image's resize as matrix products."""

import numpy as np
import pytest
import torch
from skimage.transform import resize

import dataset
from dataset.jpeg import scale, unscale
from jpeg.codec import PillowCodec
from utils import resize as resize_module
from utils.errors import UserError
from utils.resize import resize_cubic


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
    x = dataset.get_loader(loader).network_input(*tensors(compressed), None)[0]
    assert (
        x.shape == (planes, 24, 40)
        and dataset.table_channels(loader, "RGB" if channels == 3 else "L") == planes - channels
    )
    for c in range(channels):
        assert np.allclose(x[c], (compressed.pixels[..., c] / 255 - 0.5) / 0.5, atol=1e-6)
    for i in range(planes - channels):
        expected = np.tile(compressed.tables[i], (3, 5))
        assert np.allclose(x[channels + i], (expected / 255 - 0.5) / 0.5, atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (301, 97), (40, 200)])
@pytest.mark.parametrize("channels", [3, 1])
def test_the_global_image_is_the_resized_compressed_image(photo, shape, channels):
    compressed = PillowCodec().compress(photo[: shape[0], : shape[1], :channels], 10)
    loader = dataset.get_loader("jpeg_qmg")
    pixels, tables = tensors(compressed)
    x, image = loader.network_input(pixels, tables, loader.whole_image(pixels))
    expected = (resize(compressed.pixels, (112, 112), order=3) - 0.5) / 0.5
    assert image.shape == (1, channels, 112, 112) and image.dtype == torch.float32
    assert np.abs(image[0].permute(1, 2, 0).numpy() - expected).max() < 2e-6
    assert torch.equal(x, dataset.get_loader("jpeg_qm").network_input(pixels, tables, None))


@pytest.mark.parametrize("shape", [(300, 500), (64, 64), (112, 112), (40, 333), (333, 17), (1, 1), (2, 130)])
def test_the_resize_equals_scikit_images(shape):
    image = np.random.default_rng(0).random((*shape, 3))
    image[: shape[0] // 2] = image[: shape[0] // 2].round()  # overshoot to be clipped
    ours = resize_cubic(torch.tensor(image).permute(2, 0, 1)[None], 112, 112)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - resize(image, (112, 112), order=3)).max() < 1e-14 * 5


def test_a_batch_is_clipped_image_by_image():
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    images[1] = images[1] * 0.1 + 0.4
    together = resize_cubic(images, 112, 112)
    for i in range(2):
        assert torch.equal(together[i], resize_cubic(images[i : i + 1], 112, 112)[0])
    assert together[1].min() >= images[1].min() and together[1].max() <= images[1].max()


def test_strips_equal_the_whole(monkeypatch):
    image = torch.randint(0, 256, (1, 3, 150, 90), dtype=torch.uint8)
    whole = resize_cubic(image, 112, 112)
    monkeypatch.setattr(resize_module, "_ROWS_AT_ONCE", 32)
    assert torch.allclose(resize_cubic(image, 112, 112), whole, atol=1e-3)


def test_columns_of_a_large_matrix_are_made_in_parts(monkeypatch):
    whole = resize_module.resize_matrix.__wrapped__(700, 112)
    monkeypatch.setattr(resize_module, "_COLUMNS_AT_ONCE", 100)
    assert torch.allclose(resize_module.resize_matrix.__wrapped__(700, 112), whole, rtol=0, atol=1e-15)


def test_an_unknown_loader_is_told():
    with pytest.raises(UserError, match="'png' is unknown: choose --dataloader from jpeg, jpeg_qm, jpeg_qmg"):
        dataset.get_loader("png")
