"""A network ready to restore images, with all that its checkpoint says of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from qgcn import backends, checkpoints, nets
from qgcn.dataset.inputs import Input, get_input
from qgcn.jpeg.codec import Compressed
from qgcn.restoring.tiles import restore_image, tile_side
from qgcn.utils.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]  # the folder of the package qgcn
SHIPPED = {"jpeg_qm_plus": "qcn_plus", "jpeg_qm": "qcn", "jpeg_qmg": "qgcn", "jpeg": "edsr"}
"""Name of a network's input -> how names of its checkpoints begin, the best first (README, "Results")."""
ENDINGS = {"RGB": "_rgb.pth", "L": "_gray.pth"}  # colour mode -> how they end


def checkpoint_folder(package: Path = PACKAGE) -> Path:
    """Where the shipped checkpoints lie: in the package where it was installed, else beside src/ in the repository."""
    inside = package / "checkpoint"
    return inside if inside.is_dir() else package.parents[1] / "checkpoint"


def shipped_checkpoints(*modes: str, input_name: str | None = None, folder: Path | None = None) -> list[Path]:
    """The best checkpoint that is shipped for each colour mode 'RGB' or 'L', where there is one.

    Args:
        input_name: take networks with this input alone.
        folder: where they lie (default: `checkpoint_folder`).

    Raises:
        UserError: if there is none for any of them.
    """
    folder, found = folder or checkpoint_folder(), []
    for mode in modes:
        paths = [folder / (name + ENDINGS[mode]) for of, name in SHIPPED.items() if input_name in (None, of)]
        found += [path for path in paths if path.is_file()][:1]
    if not found:
        raise UserError("no checkpoint is shipped in checkpoint/ for this: give --model")
    return found


@dataclass(frozen=True)
class Model:
    """A network and its way in.

    Attributes:
        network: on ``device``.
        name: of its kind, as on the command line.
        channels: 3 for colour, 1 for gray.
        device: where it runs.
        tile: side of the tiles in which images are restored, pixels (tiles.tile_side).
        source: the checkpoint it came from, for tables of results.
        degradation: what it has learnt from (checkpoints.degradation).
    """

    network: nn.Module
    name: str
    channels: int
    device: torch.device
    tile: int
    source: str = ""
    degradation: str = "published"

    @property
    def title(self) -> str:
        """The network's name in the paper."""
        return nets.kind(self.name).title

    @property
    def input_name(self) -> str:
        """The name of its input on the command line."""
        return nets.kind(self.name).input

    @property
    def input(self) -> Input:
        """What goes into it."""
        return get_input(self.input_name)

    @property
    def color_mode(self) -> str:
        """'RGB' or 'L'."""
        return "RGB" if self.channels == 3 else "L"

    def restore(self, compressed: Compressed, **keywords) -> np.ndarray:
        """Restore a decoded JPEG of this model's colour mode; keywords and result are those of tiles.restore_image."""
        return restore_image(self.network, self.input, compressed, device=self.device, tile=self.tile, **keywords)


def load_model(
    path: str | Path,
    device: torch.device | None = None,
    *,
    backend: str = "",
    precision: str = "fp32",
    int8: bool = False,
    memory: float | None = None,
) -> Model:
    """The model of a checkpoint, or of a file that export.py wrote.

    Args:
        device: where it runs (default: the CPU).
        backend: what runs the network: 'torch' or 'openvino'; '' means PyTorch for a checkpoint and what an exported
            file was made for.
        precision: 'fp32' or 'bf16'.
        int8: compute most of the network in 8 bits; a checkpoint is calibrated anew each time, an exported file is not.
        memory: bytes that the features of a tile may take (tiles.tile_side).

    Raises:
        UserError: if it can't be read (checkpoints.load), or the choice does not suit it (backends.build).
    """
    device = device or torch.device("cpu")
    how = {"backend": backend, "precision": precision, "int8": int8}
    if backends.is_exported(path):
        network, exported = backends.open_exported(path, device, **how)
        name, channels, degradation = exported.net, exported.channels, exported.degradation
    else:
        content = checkpoints.load(path)
        network = backends.build(content, device, source=path, **how)
        name, channels = content["net"], checkpoints.image_channels(content)
        degradation = checkpoints.degradation(content)
    words = ", ".join(filter(None, (backend, precision.removeprefix("fp32"), "int8" if int8 else "")))
    source = f"{path} ({words})" if words else str(path)
    return Model(network, name, channels, device, tile_side(network, memory), source, degradation)
