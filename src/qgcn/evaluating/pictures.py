"""Comparison pictures: an image, and a zoomed crop of it as each method shows it."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from qgcn.evaluating.metrics import psnr
from qgcn.utils.image import to_pillow

CROP = (96, 96)  # width and height of a crop, pixels
MARGIN, TEXT = 10, 17  # space around panels and height of captions, pixels
Box = tuple[int, int, int, int]  # left, top, width, height of a crop, pixels


def largest_gain(
    ground_truth: np.ndarray, compressed: np.ndarray, restored: np.ndarray, size: tuple[int, int] = CROP
) -> Box:
    """The crop of ``size`` (width, height) of uint8 pictures where restoring takes away most of the squared error."""
    width, height = min(size[0], ground_truth.shape[1]), min(size[1], ground_truth.shape[0])
    truth = ground_truth.astype(np.int64)
    gain = (np.square(compressed - truth) - np.square(restored - truth)).sum(2)
    summed = np.pad(gain, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    crops = summed[height:, width:] - summed[:-height, width:] - summed[height:, :-width] + summed[:-height, :-width]
    top, left = np.unravel_index(np.argmax(crops), crops.shape)
    return int(left), int(top), width, height


def side_by_side(
    ground_truth: np.ndarray, methods: Mapping[str, np.ndarray], box: Box, *, zoom: int = 3
) -> Image.Image:
    """The whole ground truth with ``box`` marked, then that crop of the ground truth and of each method, enlarged.

    Args:
        ground_truth: uint8, H x W x C.
        methods: caption -> uint8 picture of the same shape; its PSNR over the whole image is added to the caption.
        box: the crop.
        zoom: enlargement of the crops, by pixel repetition, so that artifacts stay what they are.
    """
    left, top, width, height = box
    panel = (width * zoom, height * zoom)
    whole = to_pillow(ground_truth).convert("RGB")
    scale = panel[1] / whole.height
    frame = [round(value * scale) for value in (left, top, left + width, top + height)]
    whole = whole.resize((max(1, round(whole.width * scale)), panel[1]), Image.Resampling.LANCZOS)
    ImageDraw.Draw(whole).rectangle(frame, outline=(255, 64, 0), width=2)
    panels = [("original", whole), ("crop", _enlarged(ground_truth, box, panel))]
    for name, picture in methods.items():
        panels.append((f"{name}  {psnr(picture, ground_truth):.2f} dB", _enlarged(picture, box, panel)))
    return _row_of_panels(panels)


def _enlarged(pixels: np.ndarray, box: Box, size: tuple[int, int]) -> Image.Image:
    left, top, width, height = box
    crop = to_pillow(np.ascontiguousarray(pixels[top : top + height, left : left + width]))
    return crop.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _row_of_panels(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures of one height side by side on white, each with its caption below."""
    font = ImageFont.load_default(TEXT)
    widths = [max(picture.width, round(font.getlength(caption))) for caption, picture in panels]
    height = max(picture.height for _, picture in panels)
    canvas = Image.new("RGB", (sum(widths) + MARGIN * (len(panels) + 1), height + 2 * MARGIN + 2 * TEXT), "white")
    draw, x = ImageDraw.Draw(canvas), MARGIN
    for (caption, picture), width in zip(panels, widths, strict=True):
        canvas.paste(picture, (x + (width - picture.width) // 2, MARGIN))
        draw.text((x + width / 2, height + 1.5 * MARGIN), caption, "black", font, anchor="ma")
        x += width + MARGIN
    return canvas


def stack(rows: list[Image.Image]) -> Image.Image:
    """Pictures below each other on white."""
    canvas = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    y = 0
    for row in rows:
        canvas.paste(row, (0, y))
        y += row.height
    return canvas
