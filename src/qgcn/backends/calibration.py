"""Inputs that show which values occur in a network, to choose the steps of its 8 bits by."""

from pathlib import Path

import numpy as np
import torch

from qgcn.backends.graph import INPUTS, Exported
from qgcn.jpeg.codec import PillowCodec
from qgcn.jpeg.tables import BLOCK
from qgcn.utils.image import image_files, load_image, pad_to_multiple, sample_photographs

QUALITIES = (5, 10, 20, 30, 40, 50, 70, 90)
IMAGES = 16
SIDE = 256
"""Side of the crops, pixels."""

Arrays = dict[str, np.ndarray]
"""Input name -> array, as in backends.graph.INPUTS."""


def calibration_inputs(exported: Exported, folder: str | Path = "") -> list[Arrays]:
    """Inputs for calibration: crops of photographs at several qualities, always the same ones.

    Args:
        folder: of images, of which up to 16 are taken; '' takes the photographs that scikit-image brings along.

    Raises:
        UserError: if the folder or an image can't be read.
    """
    files = image_files(folder) if folder else sample_photographs()
    inputs = []
    for number, file in enumerate(files[:: -(-len(files) // IMAGES)]):
        pixels = pad_to_multiple(load_image(file, exported.color_mode), BLOCK)
        for turn, quality in enumerate(QUALITIES):
            compressed = PillowCodec().compress(pixels, quality)
            whole = torch.tensor(compressed.pixels).permute(2, 0, 1)[None]
            # a walk over the image, so that the qualities see different parts of it
            top, left = (
                (length - SIDE) * place // (len(QUALITIES) - 1) // BLOCK * BLOCK if length > SIDE else 0
                for length, place in zip(
                    whole.shape[2:], ((5 * number + 3 * turn) % 8, (3 * number + 5 * turn) % 8), strict=True
                )
            )
            crop = whole[..., top : top + SIDE, left : left + SIDE]
            tables = torch.tensor(compressed.tables)[None]
            assembled = exported.input.network_input(
                crop, tables, exported.input.whole_image(whole, torch.tensor([compressed.reduction]))
            )
            assembled = assembled if isinstance(assembled, tuple) else (assembled,)
            inputs.append({name: tensor.contiguous().numpy() for name, tensor in zip(INPUTS, assembled, strict=False)})
    return inputs
