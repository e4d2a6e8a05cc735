"""Metrics against analytic values, independent slow references and a peer library."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from qgcn.evaluating.metrics import (
    PROTOCOLS,
    blocking_effect_factor,
    psnr,
    psnr_b,
    psnr_b_luminance,
    ssim,
    ssim_gaussian,
)  # fmt: skip


def noisy_pair(shape, seed=0):
    random = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(random.normal(size=shape), 0), 1)
    first = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    second = np.clip(first + random.normal(0, 8, shape), 0, 255).astype(np.uint8)
    return second, first


def slow_ssim(image, ground_truth):
    """Window by window, from the definition."""
    values = []
    for channel in range(image.shape[2]):
        for top in range(image.shape[0] - 7):
            for left in range(image.shape[1] - 7):
                x = image[top : top + 8, left : left + 8, channel].astype(float)
                y = ground_truth[top : top + 8, left : left + 8, channel].astype(float)
                covariance = ((x - x.mean()) * (y - y.mean())).mean()
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
                values.append(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))
    return np.mean(values)


def slow_psnr_b(image, ground_truth):
    """Pair by pair, from the definition."""
    height, width, channels = image.shape
    boundary = other = 0.0
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0)):
                if y + dy < height and x + dx < width:
                    difference = sum(
                        (float(image[y, x, c]) - float(image[y + dy, x + dx, c])) ** 2 for c in range(channels)
                    )
                    at_boundary = (x + dx) % 8 == 0 if dx else (y + dy) % 8 == 0
                    boundary, other = boundary + difference * at_boundary, other + difference * (not at_boundary)
    boundary_count = height * (width / 8 - 1) + width * (height / 8 - 1)
    db = boundary / boundary_count
    dc = other / (height * (width - 1) + width * (height - 1) - boundary_count)
    bef = (db - dc) * math.log2(8) / math.log2(min(height, width)) if db > dc else 0
    mse = np.mean((image.astype(float) - ground_truth) ** 2)
    return 10 * math.log10(255**2 / (mse + bef))


def test_psnr_of_a_constant_difference_is_analytic():
    ground_truth = np.full((16, 24, 3), 100, np.uint8)
    assert psnr(ground_truth + np.uint8(5), ground_truth) == pytest.approx(20 * math.log10(255 / 5), abs=1e-12)


def test_identical_images_count_as_100_db():
    image, _ = noisy_pair((16, 16, 3))
    assert psnr(image, image) == 100
    flat = np.full((16, 16, 1), 7, np.uint8)
    assert psnr_b(flat, flat) == 100
    assert ssim(image, image) == 1


def test_psnr_agrees_with_scikit_image():
    image, ground_truth = noisy_pair((40, 56, 3))
    assert psnr(image, ground_truth) == pytest.approx(peak_signal_noise_ratio(ground_truth, image), abs=1e-10)


@pytest.mark.parametrize("shape", [(8, 8, 1), (24, 17, 1), (21, 40, 3)])
def test_ssim_agrees_with_the_definition(shape):
    image, ground_truth = noisy_pair(shape)
    assert ssim(image, ground_truth) == pytest.approx(slow_ssim(image, ground_truth), abs=1e-9)


@pytest.mark.parametrize("shape", [(16, 16, 1), (24, 32, 3), (21, 43, 3), (8, 40, 1)])
def test_psnr_b_agrees_with_the_definition(shape):
    image, ground_truth = noisy_pair(shape)
    image[:, ::8] //= 2  # make blocks visible
    assert psnr_b(image, ground_truth) == pytest.approx(slow_psnr_b(image, ground_truth), abs=1e-9)
    assert psnr_b(image, ground_truth) < psnr(image, ground_truth)


def test_blocking_effect_sums_over_channels():
    image, _ = noisy_pair((32, 32, 1))
    image[:, ::8] //= 2
    colour = np.repeat(image, 3, axis=2)
    assert blocking_effect_factor(colour) == pytest.approx(3 * blocking_effect_factor(image), rel=1e-12)


def test_a_smooth_image_has_no_blocking_effect():
    ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))[..., None]
    assert blocking_effect_factor(ramp) == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 64, 3), (8, 8, 3), (7, 9, 1)])
def test_images_without_block_boundaries_have_psnr_b_equal_to_psnr(shape):
    image, ground_truth = (
        noisy_pair(shape) if shape != (1, 1, 1) else (np.zeros(shape, np.uint8), np.ones(shape, np.uint8))
    )
    assert psnr_b(image, ground_truth) == psnr(image, ground_truth)


def test_protocols_are_data():
    assert {name: protocol.ssim for name, protocol in PROTOCOLS.items()} == {
        "published": "8x8",
        "paper": "8x8",
        "field": "11x11 Gaussian",
    }
    for name in ("published", "paper"):
        assert PROTOCOLS[name].metrics() == {"psnr": psnr, "ssim": ssim, "psnr_b": psnr_b}
    assert PROTOCOLS["field"].metrics() == {"psnr": psnr, "ssim": ssim_gaussian, "psnr_b": psnr_b_luminance}
    assert PROTOCOLS["field"].describe() == "field (SSIM 11x11 Gaussian, PSNR-B blocking of Y)"


def test_gaussian_ssim_agrees_with_the_definition(photo):
    from scipy.ndimage import correlate1d

    truth = photo[:40, :50].astype(np.uint8)
    image = np.clip(truth.astype(int) + np.random.default_rng(0).integers(-20, 21, truth.shape), 0, 255).astype(
        np.uint8
    )
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights /= weights.sum()
    values = []
    for c in range(3):
        x, y = image[..., c].astype(float), truth[..., c].astype(float)
        blur = lambda z: correlate1d(correlate1d(z, weights, 0), weights, 1)[5:-5, 5:-5]  # noqa: E731
        mx, my = blur(x), blur(y)
        sxx, syy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append((2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sxx + syy + c2)))
    assert ssim_gaussian(image, truth) == pytest.approx(np.mean(values), abs=1e-6)


def test_the_blocking_term_of_y_is_that_of_gray(photo):
    gray = photo[:64, :64, :1]
    noisy = np.clip(gray.astype(int) + 9, 0, 255).astype(np.uint8)
    assert psnr_b_luminance(noisy, gray) == psnr_b(noisy, gray)
    colour, noisy_colour = photo[:64, :64], photo[:64, :64] // 16 * 16
    assert psnr_b_luminance(noisy_colour, colour) != psnr_b(noisy_colour, colour)
