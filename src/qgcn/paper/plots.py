"""The figures that matplotlib draws: gains against the quality factor, and a file's quantization maps."""

from pathlib import Path

import numpy as np
import torch

from qgcn.dataset.inputs import quantization_map
from qgcn.jpeg.codec import Compressed
from qgcn.paper.gains import Gains
from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write


def pyplot():
    """matplotlib.pyplot without a window; raises UserError if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise UserError("this figure takes the optional package matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_figure(figure, path: str | Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all, and say where."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110, facecolor="white", bbox_inches="tight")
    print(f"wrote {path}")


def draw_gains(gains: Gains):
    """A matplotlib figure: a line a model, thick where it was trained."""
    figure, axis = pyplot().subplots(figsize=(8, 5))
    pairs = pyplot().get_cmap("tab20").colors  # dark and light in turn
    axis.set_prop_cycle(color=pairs[::2] + pairs[1::2])
    for name, values in gains.gains.items():
        low, high = gains.ranges[name] or (0, 0)
        trained = f", trained on {low}-{high}" if low != high else f", trained on {low}" if low else ""
        (line,) = axis.plot(gains.qualities, values, marker="o", markersize=3, linewidth=1, label=name + trained)
        inside = [(q, v) for q, v in zip(gains.qualities, values, strict=True) if low <= q <= high]
        if inside:
            axis.plot(*zip(*inside, strict=True), color=line.get_color(), linewidth=4, alpha=0.35, marker="o")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xlabel("quality factor")
    axis.set_ylabel("gain in PSNR over the JPEG, dB")
    axis.set_title(f"{gains.data}; codec {gains.codec}; thick: the qualities trained on", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))  # beside the curves, however many
    return figure


def draw_quantization_maps(compressed: Compressed, quality: int, crop: tuple[int, int, int]):
    """A matplotlib figure: a JPEG, its two quantization tables, and the maps that the network sees beside its pixels.

    Args:
        compressed: colour pixels, uint8 H x W x 3, and tables, 2 x 8 x 8.
        quality: the quality factor, for the caption.
        crop: left, top and side of the part that is shown enlarged, multiples of 8.
    """
    plt, ink, paper = pyplot(), "#222222", "#ffffff"
    left, top, side = crop
    maps = quantization_map(torch.tensor(compressed.tables)[None], *compressed.pixels.shape[:2])[0].numpy()
    part = np.s_[top : top + side, left : left + side]
    figure, axes = plt.subplots(1, 6, figsize=(18, 3.7), width_ratios=[1.5, 1, 1, 1, 1, 1], facecolor=paper)
    axes[0].imshow(compressed.pixels)
    axes[0].add_patch(plt.Rectangle((left, top), side, side, fill=False, edgecolor="#ff4000", linewidth=2))
    axes[0].set_title(f"a JPEG of quality {quality}")
    axes[1].imshow(compressed.pixels[part], interpolation="nearest")
    axes[1].set_title(f"{side} x {side} of its pixels")
    highest = int(compressed.tables.max())
    shades = {"cmap": "viridis", "vmin": 0, "vmax": highest}
    for i, name in enumerate(("luminance", "chrominance")):
        axes[2 + i].imshow(compressed.tables[i], **shades)
        for (row, column), step in np.ndenumerate(compressed.tables[i]):
            colour = ink if step > 0.6 * highest else paper
            axes[2 + i].text(column, row, step, ha="center", va="center", color=colour, fontsize=7.5)
        axes[2 + i].set_title(f"{name} table")
        axes[4 + i].imshow(maps[i][part], interpolation="nearest", **shades)
        axes[4 + i].set_title(f"{name} map")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    caption = (
        "The file's 8 x 8 quantization tables (step sizes by frequency; low ones top left), tiled from the image's "
        "top-left corner, are the network's input channels 4 and 5."
    )
    figure.text(0.5, 0.03, caption, ha="center", color=ink)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.12, wspace=0.08)
    return figure
