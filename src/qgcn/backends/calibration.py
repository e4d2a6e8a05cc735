"""Inputs that show which values occur in a network, to choose the steps of its 8 bits by."""

from pathlib import Path

import numpy as np
import torch

from qgcn.backends.graph import Exported, named_arrays
from qgcn.jpeg.codec import PillowCodec
from qgcn.jpeg.tables import BLOCK
from qgcn.utils.image import image_files, load_image, pad_to_multiple, sample_photographs

QUALITIES = (5, 10, 20, 30, 40, 50, 70, 90)
IMAGES = 16
SIDE = 256  # side of the crops, pixels


def calibration_inputs(exported: Exported, folder: str | Path = "") -> list[dict[str, np.ndarray]]:
    """Inputs for calibration (graph.named_arrays): crops of photographs at several qualities, always the same ones.

    Args:
        folder: of images, of which up to 16 are taken; '' takes the photographs that scikit-image brings along.

    Raises:
        UserError: if the folder or an image can't be read.
    """
    files = image_files(folder) if folder else sample_photographs()
    chance = np.random.default_rng(0)
    inputs = []
    for file in files[:: -(-len(files) // IMAGES)]:
        pixels = pad_to_multiple(load_image(file, exported.color_mode), BLOCK)
        for quality in QUALITIES:
            top, left = (chance.integers(max(length - SIDE, 0) + 1) for length in pixels.shape[:2])
            compressed = PillowCodec().compress(pixels[top : top + SIDE, left : left + SIDE], quality)
            crop = torch.tensor(compressed.pixels).permute(2, 0, 1)[None]
            tables, reductions = torch.tensor(compressed.tables)[None], torch.tensor([compressed.reduction])
            inputs.append(named_arrays(exported.input.assemble(crop, tables, reductions)))
    return inputs
