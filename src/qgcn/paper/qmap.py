"""The picture of a real file's quantization maps."""

import numpy as np
import torch

from qgcn.dataset.inputs import quantization_map
from qgcn.jpeg.codec import Compressed
from qgcn.jpeg.tables import BLOCK
from qgcn.paper.plotting import pyplot

INK, PAPER = "#222222", "#ffffff"


def draw_quantization_maps(compressed: Compressed, quality: int, crop: tuple[int, int, int]):
    """A matplotlib figure: a JPEG, its two quantization tables, and the maps that the network sees beside its pixels.

    Args:
        compressed: colour pixels, uint8 H x W x 3, and tables, 2 x 8 x 8.
        quality: the quality factor, for the caption.
        crop: left, top and side of the part that is shown enlarged, multiples of 8.
    """
    plt = pyplot()
    left, top, side = crop
    maps = quantization_map(torch.tensor(compressed.tables)[None], *compressed.pixels.shape[:2])[0].numpy()
    part = np.s_[top : top + side, left : left + side]
    figure, axes = plt.subplots(1, 6, figsize=(18, 3.7), width_ratios=[1.5, 1, 1, 1, 1, 1], facecolor=PAPER)
    axes[0].imshow(compressed.pixels)
    axes[0].add_patch(plt.Rectangle((left, top), side, side, fill=False, edgecolor="#ff4000", linewidth=2))
    axes[0].set_title(f"a JPEG of quality {quality}")
    axes[1].imshow(compressed.pixels[part], interpolation="nearest")
    axes[1].set_title(f"{side} x {side} of its pixels")
    highest = int(compressed.tables.max())
    for i, name in enumerate(("luminance", "chrominance")):
        table = compressed.tables[i]
        axis = axes[2 + i]
        axis.imshow(table, cmap="viridis", vmin=0, vmax=highest)
        for row in range(BLOCK):
            for column in range(BLOCK):
                colour = INK if table[row, column] > 0.6 * highest else PAPER
                axis.text(column, row, table[row, column], ha="center", va="center", color=colour, fontsize=7.5)
        axis.set_title(f"{name} table")
        axes[4 + i].imshow(maps[i][part], cmap="viridis", vmin=0, vmax=highest, interpolation="nearest")
        axes[4 + i].set_title(f"{name} map")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.text(
        0.5,
        0.03,
        "The file's 8 x 8 quantization tables (step sizes by frequency; low ones top left), tiled from the image's "
        "top-left corner, are the network's input channels 4 and 5.",
        ha="center",
        color=INK,
    )
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.12, wspace=0.08)
    return figure
