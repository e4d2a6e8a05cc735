"""What the tests of restoring share: networks that change little, encoded pictures, a folder of JPEGs."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from conftest import network_arguments
from PIL import Image

from qgcn import nets
from qgcn.restoring.model import Model

CPU = torch.device("cpu")


def near_identity(name: str, channels: int, degradation: str = "published") -> Model:
    """A tiny network that changes its input a little, tables included."""
    torch.manual_seed(0)
    network = nets.build(name, network_arguments(name, channels))
    network.initialise_identity()
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return Model(network.eval(), name, channels, CPU, 512, f"{name}_{channels}", degradation)


def encoded(pixels: np.ndarray, mode: str | None = None, form: str = "JPEG", **keywords) -> bytes:
    """The file that Pillow makes of pixels."""
    file = BytesIO()
    Image.fromarray(pixels, mode).save(file, form, **keywords)
    return file.getvalue()


def write_album(folder: Path, photo: np.ndarray) -> Path:
    """A folder of JPEGs of several qualities and sizes, one of them nested and one of them gray."""
    (folder / "nested").mkdir(parents=True)
    for name, quality, part in (
        ("a.jpg", 10, np.s_[:50, :70]),
        ("b.JPEG", 90, np.s_[:33, :35]),
        ("nested/c.jpg", 40, np.s_[:64, :64]),
    ):
        Image.fromarray(photo[part]).save(folder / name, "JPEG", quality=quality)
    Image.fromarray(photo[:40, :40, 0]).save(folder / "gray.jpg", quality=20)
    return folder
