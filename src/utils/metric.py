"""PSNR, SSIM and PSNR-B of uint8 images, as the published program computes them."""

import math

import numpy as np

from jpeg.tables import BLOCK

PEAK = 255
SSIM_WINDOW = 8


def _check(image: np.ndarray, ground_truth: np.ndarray) -> None:
    assert image.dtype == ground_truth.dtype == np.uint8 and image.shape == ground_truth.shape and image.ndim == 3


def _mse(image: np.ndarray, ground_truth: np.ndarray) -> float:
    difference = image.astype(np.int32) - ground_truth
    return float(np.mean(np.square(difference), dtype=np.float64))


def _decibels(error: float) -> float:
    """A mean squared error as dB below the peak; no error counts as 100 dB."""
    return 10 * math.log10(PEAK**2 / error) if error else 100.0


def psnr(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples of H x W x C uint8 images; 100 for identical ones."""
    _check(image, ground_truth)
    return _decibels(_mse(image, ground_truth))


def _window_sums(image: np.ndarray, window: int) -> np.ndarray:
    """Sums over every window x window square inside H x W x C (int32), ``window`` a power of two: adds in pairs."""
    step = 1
    while step < window:
        image = image[:-step] + image[step:]
        image = image[:, :-step] + image[:, step:]
        step *= 2
    return image


def ssim(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """Structural similarity of H x W x C uint8 images, mean over channels.

    Uniform 8 x 8 window at all valid positions, population covariance, K1 = 0.01, K2 = 0.03: the published
    program's variant of Wang et al., IEEE TIP 13, 2004. Images smaller than the window give nan.
    """
    _check(image, ground_truth)
    if min(image.shape[:2]) < SSIM_WINDOW:
        return math.nan
    x, y = image.astype(np.int32), ground_truth.astype(np.int32)
    samples = SSIM_WINDOW**2
    # Sums of up to 64 squares of bytes fit int32; scaled to means only once, in float64.
    sum_x, sum_y = _window_sums(x, SSIM_WINDOW), _window_sums(y, SSIM_WINDOW)
    mean_squares = _window_sums(x * x + y * y, SSIM_WINDOW) / samples
    mean_product = _window_sums(x * y, SSIM_WINDOW) / samples
    mu_product = (sum_x / samples) * (sum_y / samples)
    mu_squares = np.square(sum_x / samples) + np.square(sum_y / samples)
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    numerator = (2 * mu_product + c1) * (2 * (mean_product - mu_product) + c2)
    denominator = (mu_squares + c1) * (mean_squares - mu_squares + c2)
    return float(np.mean(numerator / denominator))


def blocking_effect_factor(image: np.ndarray) -> float:
    """The blocking effect factor (BEF) of an H x W x C uint8 image (Yim and Bovik, IEEE TIP 20, 2011).

    Squared differences are summed, not averaged, over channels, as in the published program: colour values are
    therefore about three times those of one channel.
    """
    height, width = image.shape[:2]
    if min(height, width) < BLOCK or max(height, width) == BLOCK:  # no block boundary to measure
        return 0.0
    values = image.astype(np.int32)
    across_columns = np.square(np.diff(values, axis=1)).sum(axis=(0, 2), dtype=np.int64)
    across_rows = np.square(np.diff(values, axis=0)).sum(axis=(1, 2), dtype=np.int64)
    boundary = int(across_columns[BLOCK - 1 :: BLOCK].sum() + across_rows[BLOCK - 1 :: BLOCK].sum())
    everything = int(across_columns.sum() + across_rows.sum())
    boundary_pairs = height * (width / BLOCK - 1) + width * (height / BLOCK - 1)
    other_pairs = height * (width - 1) + width * (height - 1) - boundary_pairs
    excess = boundary / boundary_pairs - (everything - boundary) / other_pairs
    return excess * math.log2(BLOCK) / math.log2(min(height, width)) if excess > 0 else 0.0


def psnr_b(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """PSNR with the blocking effect factor of ``image`` added to the error, in dB; 100 where both are zero."""
    _check(image, ground_truth)
    return _decibels(_mse(image, ground_truth) + blocking_effect_factor(image))


METRICS = {"psnr": psnr, "ssim": ssim, "psnr_b": psnr_b}
"""Key in tables and JSON -> function of (image, ground_truth)."""
