"""One restored image, tile by tile. No options, no paths."""

import numpy as np
import torch
from torch import Tensor, nn

from qgcn.dataset.inputs import Input, unscale
from qgcn.jpeg.codec import Compressed
from qgcn.jpeg.tables import BLOCK
from qgcn.utils.errors import UserError
from qgcn.utils.image import pad_to_multiple

MEMORY = 250e6
"""Bytes that the network's features take by default in restoring: with torch itself and a picture of 100 megapixels
before and after, that makes less than 1.5 GB."""
MIN_TILE = 64  # tiles are at least this large, pixels


@torch.inference_mode()
def restore_image(
    network: nn.Module,
    assembly: Input,
    compressed: Compressed,
    *,
    device: torch.device,
    tile: int,
    dtype: type = np.float32,
    strength: float = 1.0,
    in_place: bool = False,
) -> np.ndarray:
    """Restore one decoded JPEG of any size, the one way for validation, evaluation and users' files.

    It goes tile by tile, so that a large picture needs little memory beside itself. Each tile has a halo of the
    network's reach, so that the result is the whole picture's to float rounding; what the input takes from the whole
    picture is made once. At the bottom and right the picture is padded by edge replication to whole blocks, or to an
    even size where the input has no quantization maps.

    Args:
        assembly: of the network's input.
        compressed: uint8 pixels H x W x C and tables T x 8 x 8, with C and T as the network takes them.
        tile: of `tile_side`, or another multiple of 8.
        dtype: of the result: np.float32, not rounded, or rounded to np.uint8 or np.uint16.
        strength: 0..1, how much of the restored image is blended into the decoded one.
        in_place: write a result of np.uint8 over the compressed pixels.

    Returns:
        H x W x C on 0..255 (float32, uint8) or 0..65535 (uint16).
    """
    assert tile % BLOCK == 0 and (dtype == np.uint8 or not in_place)
    pixels = compressed.pixels
    height, width = pixels.shape[:2]
    restored = pixels if in_place else np.empty(pixels.shape, dtype)
    tables = torch.tensor(compressed.tables)[None].to(device)
    reductions = torch.tensor([compressed.reduction], dtype=torch.uint8, device=device)
    halo = tile_halo(network)
    network.eval()
    whole = assembly.whole_image(_batch_of_one(pixels).to(device), reductions)
    rows_above = pixels[:0]  # kept, for in place they are written over
    for top in range(0, height, tile):
        above = len(rows_above)
        band = np.concatenate([rows_above, pixels[top : top + tile + halo]])
        rows_above = band[max(0, above + tile - halo) : above + tile]
        for left in range(0, width, tile):
            before = min(left, halo)
            part = pad_to_multiple(band[:, left - before : left + tile + halo], assembly.multiple)
            output = network(assembly.network_input(_batch_of_one(part).to(device), tables, whole))
            rows, columns = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
            output = output[0, :, above : above + rows.stop - top, before : before + columns.stop - left]
            output = unscale(output.float()).clamp_(0, 255).permute(1, 2, 0).cpu().numpy()
            if strength < 1:
                decoded = pixels[rows, columns]
                output = decoded + np.float32(strength) * (output - decoded)
            restored[rows, columns] = levels(output, dtype)
    return restored


def _batch_of_one(pixels: np.ndarray) -> Tensor:
    """uint8 pixels H x W x C as 1 x C x H x W that shares their memory, but for read-only ones, which torch refuses."""
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).permute(2, 0, 1)[None]


def tile_halo(network: nn.Module) -> int:
    """The halo of a tile, pixels: the network's reach in whole blocks."""
    return -(-network.halo // BLOCK) * BLOCK


def tile_side(network: nn.Module, memory: float | None) -> int:
    """The side of the square tiles for which a network's features take about ``memory`` bytes, a multiple of 8.

    Args:
        memory: None stands for MEMORY, or for what a tile of twice the halo takes where that is more: the halo's share
            of the work grows fast below.

    Raises:
        UserError: if not even a tile of MIN_TILE fits.
    """
    halo = tile_halo(network)
    side = ((MEMORY if memory is None else memory) / (4 * network.peak_channels)) ** 0.5
    tile = int(side - 2 * halo) // BLOCK * BLOCK
    if memory is None:
        return max(tile, 2 * halo, MIN_TILE)
    if tile < MIN_TILE:
        needed = 4 * network.peak_channels * (MIN_TILE + 2 * halo + BLOCK) ** 2 / 1e6
        given = f"{memory / 1e6:g}M" if memory >= 1e5 else f"{memory:g}"
        raise UserError(f"--memory {given} is too little for this network: it takes {needed:.0f}M or more")
    return tile


def levels(pixels: np.ndarray, dtype: type) -> np.ndarray:
    """Floats on 0..255 as float32, or rounded to the levels of np.uint8 or np.uint16; what has the type stays."""
    if pixels.dtype == dtype:
        return pixels
    return np.rint(pixels * np.float32(np.iinfo(dtype).max / 255)).astype(dtype)


def to_bytes(restored: np.ndarray) -> np.ndarray:
    """Round floats on 0..255 to uint8."""
    return levels(restored, np.uint8)
