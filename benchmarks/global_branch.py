"""What QGCN's global branch is worth: PSNR with each image's global features and with those of all images averaged."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
import torch

from qgcn.cli import params, run
from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.metrics import psnr
from qgcn.jpeg.codec import get_codec
from qgcn.jpeg.tables import BLOCK
from qgcn.nets.base import Residual_Block
from qgcn.restoring.model import Model, load_model, shipped_checkpoints
from qgcn.restoring.tiles import to_bytes
from qgcn.utils import distributed
from qgcn.utils.errors import UserError
from qgcn.utils.image import load_image


def main(argv: list[str] | None = None) -> int:
    """Measure as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().global_branch_benchmark_parser().parse_args(argv)
    files, _ = find_images(options.gtdata, options.dataroot)
    device = distributed.choose_device(options.cuda, options.gpus)
    model = load_model(options.model or shipped_checkpoints("RGB", input_name="jpeg_qmg")[0], device)
    if model.input_name != "jpeg_qmg":
        raise UserError(f"--model {options.model!r} holds {model.title}, which has no global branch: give a QGCN")
    photos = [load_image(file, model.color_mode) for file in files]
    longest = max(max(photo.shape[:2]) for photo in photos)
    model = replace(model, tile=longest // BLOCK * BLOCK + BLOCK)  # one pass an image, so one vector of features
    fired: dict[str, torch.Tensor] = {}
    for name, module in model.network.named_modules():
        if isinstance(module, Residual_Block):
            module.conv1.register_forward_hook(partial(count, fired, name))
    print("| quality | JPEG | QGCN | its global features averaged | spread of the features |\n|---|---|---|---|---|")
    for quality in options.quality:
        before, own, averaged, spread = measure(model, photos, quality)
        print(f"| {quality} | {before:.4f} | {own:.4f} | {averaged:.4f} | {spread:.1e} |", flush=True)
    dead = sum(int((~alive).sum()) for alive in fired.values())
    print(f"\ndead features of the residual blocks: {dead} of {sum(len(alive) for alive in fired.values())}")
    return 0


def count(fired: dict[str, torch.Tensor], name: str, _module, _inputs, output: torch.Tensor) -> None:
    """Note which inner features of the block ``name`` have been positive anywhere."""
    fired[name] = fired.get(name, False) | (output > 0).any(3).any(2).any(0)


def measure(model: Model, photos: list[np.ndarray], quality: int) -> tuple[float, float, float, float]:
    """Mean PSNR in dB of the JPEG, of QGCN and with the mean global features; their standard deviation over images."""
    jpegs = [get_codec("pillow").compress(photo, quality) for photo in photos]
    branch = model.network.conv_global_l
    seen: list[torch.Tensor] = []
    hook = branch.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    own = mean_psnr([to_bytes(model.restore(jpeg)) for jpeg in jpegs], photos)
    hook.remove()
    features = torch.cat(seen)
    mean = features.mean(0, keepdim=True)
    hook = branch.register_forward_hook(lambda *_: mean)
    averaged = mean_psnr([to_bytes(model.restore(jpeg)) for jpeg in jpegs], photos)
    hook.remove()
    return mean_psnr([jpeg.pixels for jpeg in jpegs], photos), own, averaged, features.std(0).mean().item()


def mean_psnr(pictures: list[np.ndarray], photos: list[np.ndarray]) -> float:
    """The mean of the pictures' PSNR in dB."""
    return float(np.mean([psnr(picture, photo) for picture, photo in zip(pictures, photos, strict=True)]))


if __name__ == "__main__":
    sys.exit(run(main))
