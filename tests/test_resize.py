"""The cubic resize as matrix products against scikit-image's own."""

import numpy as np
import pytest
import torch
from skimage.transform import resize

from qgcn.utils import resize as resize_module
from qgcn.utils.resize import resize_cubic, resize_matrix

SHAPES = [(300, 500), (64, 64), (112, 112), (113, 111), (40, 333), (333, 17), (2, 130), (1, 500), (1, 1)]
"""Shrinking, growing, kept, and one of each per axis, to 112 x 112."""

TOLERANCE = 2e-13
"""Positions are rounded, by 6e-14 at some hundred samples, and images change by up to 1 from one to the next."""


def tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def array(images):
    return images[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(112, 112), (64, 224)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_resize_is_scikit_images(shape, size):
    image = np.random.default_rng(0).random((*shape, 3))
    image[: shape[0] // 2] = image[: shape[0] // 2].round()  # black and white: cubic interpolation overshoots
    ours, peer = array(resize_cubic(tensor(image), *size)), resize(image, size, order=3)
    assert ours.shape == peer.shape and np.abs(ours - peer).max() < TOLERANCE


def test_overshoot_is_clipped_to_the_images_own_range():
    image = np.full((40, 40, 1), 0.25)
    image[:, 20:] = 0.5
    unclipped = resize(image, (112, 112), order=3, clip=False)
    assert unclipped.max() > 0.5 + 1e-3 and unclipped.min() < 0.25 - 1e-3
    ours = array(resize_cubic(tensor(image), 112, 112))
    assert (ours.min(), ours.max()) == (0.25, 0.5)


def test_a_batch_is_clipped_image_by_image():
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    images[1] = images[1] * 0.1 + 0.4
    together = resize_cubic(images, 112, 112)
    for i in range(2):
        torch.testing.assert_close(together[i], resize_cubic(images[i : i + 1], 112, 112)[0], rtol=0, atol=1e-14)
    assert together[1].min() >= images[1].min() and together[1].max() <= images[1].max()


def test_bytes_in_strips_are_the_whole_in_float32(photo, monkeypatch):
    image = tensor(photo[:150, :90])
    peer = resize(photo[:150, :90], (112, 112), order=3) * 255
    monkeypatch.setattr(resize_module, "ROWS_AT_ONCE", 1000)
    whole = resize_cubic(image, 112, 112)
    monkeypatch.setattr(resize_module, "ROWS_AT_ONCE", 32)
    strips = resize_cubic(image, 112, 112)
    assert strips.dtype == whole.dtype == torch.float32
    for ours in (whole, strips):
        assert np.abs(array(ours) - peer).max() < 2e-4  # of 0..255, float32
    torch.testing.assert_close(strips, whole, rtol=0, atol=2e-4)


@pytest.mark.parametrize("new", [1, 3, 112])
def test_a_long_side_is_resized_as_by_scikit_image(new):
    side = np.random.default_rng(1).random((6000, 1))
    peer = resize(side, (new, 1), order=3, clip=False)
    assert np.abs(resize_matrix(6000, new).numpy() @ side - peer).max() < TOLERANCE


def test_a_matrix_keeps_constants_and_is_made_once():
    for old in (1, 17, 64, 512):
        matrix = resize_matrix(old, 112)
        assert matrix.shape == (112, old) and matrix.dtype == torch.float64
        torch.testing.assert_close(matrix.sum(1), torch.ones(112, dtype=torch.float64), rtol=0, atol=1e-13)
        assert resize_matrix(old, 112) is matrix
