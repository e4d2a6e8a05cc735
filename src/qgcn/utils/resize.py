"""scikit-image's cubic resize of a whole batch as two matrix products."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

ROWS_AT_ONCE = 1024
_SPLINE_REACH = 30
"""Samples to either side that a cubic spline's value depends on: what is further away counts less than 1e-16."""


@lru_cache(maxsize=32)
def resize_matrix(old: int, new: int) -> Tensor:
    """The new x old float64 matrix that resizes one axis as ``skimage.transform.resize(..., order=3)`` does.

    That is a Gaussian of sigma (old / new - 1) / 2 where the axis shrinks, and cubic spline interpolation at the new
    samples' centres, both with the image mirrored about its outermost samples. A row is made from the samples around
    its centre alone: what scikit-image makes of all unit vectors would take minutes for a side of 20,000.
    """
    from scipy import ndimage  # with which scikit-image resizes

    sigma = max(0.0, (old / new - 1) / 2)
    radius = int(4 * sigma + 0.5)  # where gaussian_filter cuts it off
    impulse = np.zeros(2 * radius + 1)
    impulse[radius] = 1
    gaussian = ndimage.gaussian_filter1d(impulse, sigma, mode="constant") if radius else impulse
    mirrored = np.pad(np.arange(old), radius, mode="reflect")
    matrix = np.zeros((new, old))
    for row in range(new):
        centre = (row + 0.5) * old / new - 0.5
        start, stop = max(0, int(centre) - _SPLINE_REACH), min(old, int(centre) + _SPLINE_REACH + 1)
        unit_vectors = np.eye(stop - start)
        at = np.stack([np.full(stop - start, centre - start), np.arange(stop - start)])
        spline = ndimage.map_coordinates(unit_vectors, at, order=3, mode="mirror")
        weights = np.convolve(spline, gaussian)
        matrix[row] = np.bincount(mirrored[start : stop + 2 * radius], weights, minlength=old)
    return torch.from_numpy(matrix)


def resize_cubic(images: Tensor, height: int, width: int) -> Tensor:
    """Resize images B x C x H x W as ``skimage.transform.resize(image, (height, width), order=3)`` does.

    As there, each image is clipped to its own range of values over all channels, which is otherwise kept. Integer
    images are converted to float32 strip by strip, so that a large one needs little memory.
    """
    dtype = images.dtype if images.is_floating_point() else torch.float32
    rows = resize_matrix(images.shape[2], height).to(images.device, dtype)
    columns = resize_matrix(images.shape[3], width).to(images.device, dtype)
    resized = sum(
        rows[:, top : top + ROWS_AT_ONCE] @ images[:, :, top : top + ROWS_AT_ONCE].to(dtype)
        for top in range(0, images.shape[2], ROWS_AT_ONCE)
    )
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    resized = resized @ columns.T
    torch.maximum(resized, low.to(dtype), out=resized)  # a tenth of clamp's time with bounds that are tensors
    return torch.minimum(resized, high.to(dtype), out=resized)
