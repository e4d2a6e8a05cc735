"""The pictures of what the system is: quantization maps of a real file, and the networks' layers, off the live code."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from qgcn import nets
from qgcn.dataset.inputs import quantization_map
from qgcn.jpeg.codec import Compressed
from qgcn.jpeg.tables import BLOCK
from qgcn.nets.qmarg import GLOBAL_SIZE
from qgcn.utils.errors import UserError

INK, PAPER = "#222222", "#ffffff"
COLOURS = {"conv": "#cfe2f3", "scale": "#fce5cd", "residual": "#d9ead3", "global": "#ead1dc", "data": "#eeeeee"}


def pyplot():
    """matplotlib.pyplot without a window; raises UserError if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise UserError("this figure takes the optional package matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


# ------------------------------------------------------------------------------------- quantization maps


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


# ----------------------------------------------------------------------------------------------- networks


def describe(module: nn.Module) -> str:
    """The layers of a module in a few lines, read off its weights."""
    if isinstance(module, nn.Conv2d):
        size, stride = module.kernel_size[0], f" / {module.stride[0]}" if module.stride[0] > 1 else ""
        bias = " + b" if module.bias is not None else ""
        return f"{size}x{size}{stride}{bias}\n{module.in_channels} → {module.out_channels}"
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features} → {module.out_features}"
    if isinstance(module, nn.ReLU):
        return "ReLU"
    if isinstance(module, nn.PixelShuffle):
        return f"shuffle x{module.upscale_factor}"
    blocks = [child for child in module if hasattr(child, "res_scale")]
    if blocks:
        block = blocks[0]
        kernel = "x".join(map(str, block.conv1.kernel_size))
        return f"{len(blocks)} residual blocks\n{kernel}, ReLU, {kernel}\nx{block.res_scale:g}, + skip"
    convolutions = [child for child in module if isinstance(child, nn.Conv2d)]
    if len(convolutions) > 2:
        widths = [convolutions[0].in_channels] + [conv.out_channels for conv in convolutions]
        return f"{len(convolutions)} convolutions + ReLU\n" + " → ".join(map(str, widths))
    return "\n".join(describe(child) for child in module)


class _Sketch:
    """Boxes and arrows on a matplotlib axis."""

    def __init__(self, axis):
        self.axis = axis

    def box(self, x: float, y: float, width: float, title: str, text: str, colour: str, height: float = 1.5) -> None:
        """A rounded box centred on (x, y): bold title, text below."""
        from matplotlib.patches import FancyBboxPatch

        corner = (x - width / 2, y - height / 2)
        style = "round,pad=0,rounding_size=0.12"
        self.axis.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, fc=COLOURS[colour], ec=INK, lw=1))
        self.axis.text(x, y + height / 2 - 0.17, title, ha="center", va="top", fontsize=9, weight="bold", color=INK)
        self.axis.text(x, y - 0.17, text, ha="center", va="center", fontsize=8.5, color=INK, linespacing=1.25)

    def arrow(self, points: Sequence[tuple[float, float]]) -> None:
        """A line through ``points`` with a head at its end."""
        xs, ys = zip(*points, strict=True)
        self.axis.plot(xs[:-1], ys[:-1], color=INK, lw=1.3, solid_capstyle="round")
        self.axis.annotate(
            "",
            points[-1],
            points[-2],
            arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.3, "shrinkA": 0, "shrinkB": 0},
        )

    def sign(self, x: float, y: float, text: str) -> None:
        """An operation in a circle."""
        from matplotlib.patches import Circle

        self.axis.add_patch(Circle((x, y), 0.24, fc=PAPER, ec=INK, lw=1.2, zorder=3))
        self.axis.text(x, y - 0.01, text, ha="center", va="center", fontsize=11, zorder=4, color=INK)

    def note(self, x: float, y: float, text: str, **keywords) -> None:
        """Small text."""
        self.axis.text(x, y, text, ha="center", va="center", fontsize=8.5, color=INK, **keywords)


def draw_networks():
    """A matplotlib figure of QCN and QGCN at their published size for colour, sizes read off the modules."""
    plt = pyplot()
    figure, axis = plt.subplots(figsize=(17, 8.6), facecolor=PAPER)
    axis.set_xlim(0, 25.2)
    axis.set_ylim(-0.6, 12.2)
    axis.set_aspect("equal")
    axis.axis("off")
    sketch = _Sketch(axis)
    colour = {"in_channel": 5, "out_channel": 3}
    _draw_qcn(sketch, nets.build("qmar", colour), y=9.5)
    _draw_qgcn(sketch, nets.build("qmarg", colour), y=4.7)
    figure.subplots_adjust(left=0.005, right=0.995, top=0.995, bottom=0.005)
    return figure


def _title(name: str, network: nn.Module) -> str:
    return f"{nets.kind(name).title} ({name}), {nets.parameter_count(network) / 1e6:.2f} M parameters"


def _draw_qcn(sketch: _Sketch, network: nn.Module, y: float) -> None:
    sketch.axis.text(0.2, y + 2.1, _title("qmar", network), fontsize=13, weight="bold", color=INK)
    stages = [
        (1.3, 2.0, "input", f"pixels and\nquantization maps\n{network.conv_input.in_channels} x H x W", "data"),
        (4.0, 1.8, "conv_input", describe(network.conv_input), "conv"),
        (6.8, 1.9, "downscale", describe(network.downscale), "scale"),
        (10.0, 2.6, "residual", describe(network.residual), "residual"),
        (13.2, 1.8, "conv_mid", describe(network.conv_mid), "conv"),
        (16.2, 2.0, "upscale", describe(network.upscale), "scale"),
        (20.2, 1.8, "conv_output", describe(network.conv_output), "conv"),
        (23.6, 2.0, "restored", f"{network.conv_output.out_channels} x H x W", "data"),
    ]
    for x, width, title, text, kind in stages:
        sketch.box(x, y, width, title, text, kind, 1.7)
    for (x, width, *_), (following, next_width, *_) in pairwise(stages):
        sketch.arrow([(x + width / 2, y), (following - next_width / 2, y)])
    sketch.arrow([(5.3, y), (5.3, y + 1.45), (18.2, y + 1.45), (18.2, y + 0.24)])
    sketch.sign(18.2, y, "+")
    sketch.note(11.7, y + 1.65, "full-resolution skip", style="italic")
    sketch.note(10.0, y - 1.15, "at H/2 x W/2", style="italic")


def _draw_qgcn(sketch: _Sketch, network: nn.Module, y: float) -> None:
    sketch.axis.text(0.2, y + 2.1, _title("qmarg", network), fontsize=13, weight="bold", color=INK)
    stages = [
        (1.3, 2.0, "input", f"pixels and\nquantization maps\n{network.conv_input.in_channels} x H x W", "data"),
        (3.75, 1.6, "conv_input", describe(network.conv_input), "conv"),
        (6.1, 1.8, "downscale", describe(network.downscale), "scale"),
        (8.95, 2.5, "residual1", describe(network.residual1), "residual"),
        (12.85, 1.8, "conv_res_mid", describe(network.conv_res_mid) + "\nReLU", "conv"),
        (15.7, 2.5, "residual2", describe(network.residual2), "residual"),
        (18.75, 1.5, "conv_mid", describe(network.conv_mid), "conv"),
        (20.85, 1.7, "upscale", describe(network.upscale), "scale"),
        (23.1, 1.7, "conv_output", describe(network.conv_output), "conv"),
    ]
    for x, width, title, text, kind in stages:
        sketch.box(x, y, width, title, text, kind, 1.7)
    for (x, width, *_), (following, next_width, *_) in pairwise(stages):
        sketch.arrow([(x + width / 2, y), (following - next_width / 2, y)])
    for start, end in ((7.35, 10.65), (14.1, 17.4)):  # the skip over each half of the blocks
        sketch.arrow([(start, y), (start, y + 1.35), (end, y + 1.35), (end, y + 0.24)])
        sketch.sign(end, y, "+")
    sketch.sign(11.45, y, "C")
    end, below = 24.2, y - 3.2
    sketch.arrow([(23.95, y), (end, y), (end, below + 0.75)])
    sketch.box(end, below, 1.8, "restored", f"{network.conv_output.out_channels} x H x W", "data", 1.5)
    channels, flat = network.in_glo_channel, network.conv_global_l[0].in_features
    sketch.box(1.3, below, 2.0, "global image", f"resized\n{channels} x {GLOBAL_SIZE} x {GLOBAL_SIZE}", "data", 1.5)
    sketch.box(5.15, below, 4.7, "conv_global", describe(network.conv_global), "global", 1.5)
    sketch.box(9.4, below, 2.5, "conv_global_l", describe(network.conv_global_l), "global", 1.5)
    sketch.arrow([(2.3, below), (2.8, below)])
    sketch.arrow([(7.5, below), (8.15, below)])
    sketch.note(7.8, below - 1.0, f"flattened: {flat}", style="italic")
    sketch.arrow([(10.65, below), (11.45, below), (11.45, y - 0.24)])
    sketch.note(13.4, below + 0.9, "one vector for the whole image,\nconcatenated (C) everywhere", style="italic")
