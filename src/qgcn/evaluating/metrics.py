"""PSNR, SSIM and PSNR-B of uint8 images, and the protocols that say which variants a table holds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from qgcn.jpeg.tables import BLOCK
from qgcn.utils.errors import choose
from qgcn.utils.image import luminance

PEAK = 255
SSIM_WINDOW = 8
SSIM_STRIP = 32  # rows of the SSIM map that are computed at once


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


def _window_sums(image: np.ndarray) -> np.ndarray:
    """Sums over every window of SSIM inside H x W x C (int32): its side is a power of two, so that pairs are added."""
    step = 1
    while step < SSIM_WINDOW:
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
    rows = image.shape[0] - SSIM_WINDOW + 1
    total = 0.0
    for top in range(0, rows, SSIM_STRIP):  # as much as the processor's cache holds
        strip = slice(top, top + SSIM_STRIP + SSIM_WINDOW - 1)
        total += _ssim_map(image[strip].astype(np.int32), ground_truth[strip].astype(np.int32)).sum()
    return float(total / (rows * (image.shape[1] - SSIM_WINDOW + 1) * image.shape[2]))


def _ssim_map(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """SSIM at every position of the window inside H x W x C (int32, of bytes).

    With n samples in the window, sums instead of means make both factors of numerator and denominator n squared
    times as large; sums of 64 bytes and their products fit int32.
    """
    samples = SSIM_WINDOW**2
    c1, c2 = (samples * 0.01 * PEAK) ** 2, (samples * 0.03 * PEAK) ** 2
    sum_x, sum_y = _window_sums(x), _window_sums(y)
    product, squares = sum_x * sum_y, sum_x * sum_x + sum_y * sum_y
    covariance = samples * _window_sums(x * y) - product
    variances = samples * _window_sums(x * x + y * y) - squares
    return (2.0 * product + c1) * (2.0 * covariance + c2) / ((squares + c1) * (variances + c2))


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


def ssim_7x7(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """Structural similarity as scikit-image computes it by default: uniform 7 x 7 window, sample covariance."""
    return _scikit_ssim(image, ground_truth, 7)


def ssim_gaussian(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """Structural similarity of Wang et al., 2004: 11 x 11 Gaussian window, sigma 1.5, mean over channels."""
    return _scikit_ssim(image, ground_truth, 11, gaussian_weights=True, use_sample_covariance=False)


def _scikit_ssim(image: np.ndarray, ground_truth: np.ndarray, window: int, **variant: bool) -> float:
    from skimage.metrics import structural_similarity

    _check(image, ground_truth)
    if min(image.shape[:2]) < window:
        return math.nan
    return float(structural_similarity(ground_truth, image, channel_axis=-1, data_range=PEAK, **variant))


def psnr_b_luminance(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """PSNR-B in dB with the error over all channels and the blocking effect factor of MATLAB's Y alone in colour."""
    _check(image, ground_truth)
    one_channel = luminance(image)[..., None] if image.shape[2] == 3 else image
    return _decibels(_mse(image, ground_truth) + blocking_effect_factor(one_channel))


Metrics = Mapping[str, Callable[[np.ndarray, np.ndarray], float]]
"""Key in tables and JSON -> function of (image, ground_truth)."""


@dataclass(frozen=True)
class Protocol:
    """How images are measured.

    Attributes:
        name: on the command line.
        ssim: a key of SSIM_WINDOWS.
        psnr_b: a key of BLOCKING_TERMS.
    """

    name: str
    ssim: str = "8x8"
    psnr_b: str = "summed over channels"

    def metrics(self) -> Metrics:
        """The metrics of every image."""
        return {"psnr": psnr, "ssim": SSIM_WINDOWS[self.ssim], "psnr_b": BLOCKING_TERMS[self.psnr_b]}

    def describe(self) -> str:
        """One phrase for the title of a table."""
        return f"{self.name} (SSIM {self.ssim}, PSNR-B {self.psnr_b})"


SSIM_WINDOWS = {"8x8": ssim, "7x7": ssim_7x7, "11x11 Gaussian": ssim_gaussian}
BLOCKING_TERMS = {"summed over channels": psnr_b, "blocking of Y": psnr_b_luminance}

PROTOCOLS = {
    "published": Protocol("published"),  # the published program's evaluation scripts
    "paper": Protocol("paper"),  # the paper's tables, but for LIVE1 in colour (paper.record.protocol_of)
    "field": Protocol("field", "11x11 Gaussian", "blocking of Y"),  # FBCNN, SwinIR and KAIR
}


def get_protocol(name: str) -> Protocol:
    """The protocol called ``name``; raises UserError listing the valid names."""
    return choose(PROTOCOLS, name, "--protocol")
