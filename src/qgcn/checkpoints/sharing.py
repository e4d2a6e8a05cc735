"""Checkpoints that are fit to share: without optimizer and local paths, and if wished at half the size."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from qgcn import checkpoints, nets
from qgcn.utils.errors import UserError

LOCAL = ("imgGTRoot", "imgValidRoot", "store", "savedir", "resume", "pretrained")
"""Options that name places on somebody's machine."""


def convert(old: str, new: str, *, half: bool = False, overwrite: bool = False) -> str:
    """Write the checkpoint ``old``, of the published program or of a training run, as one that is fit to share.

    Args:
        half: store the weights in float16 (`halved`); checkpoints.load returns float32 all the same.

    Returns:
        A line that says what the new file holds.

    Raises:
        UserError: if ``old`` can't be read, ``new`` exists or is ``old``, or a weight is too large for float16.
    """
    source, target = Path(old), Path(new)
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{new!r} is the checkpoint to convert, whose training state would be lost: give another name")
    if target.is_dir():
        raise UserError(f"{new!r} is a folder: name a file")
    if target.exists() and not overwrite:
        raise UserError(f"{new!r} exists: give another name or --overwrite")
    content = checkpoints.load(old)
    content.pop("training", None)
    content["opt"] = {name: value for name, value in content["opt"].items() if name not in LOCAL}
    network = checkpoints.build_network(content, old)
    if half:
        content["model"] = halved(content["model"])
    checkpoints.save(new, content)
    title = nets.kind(content["net"]).title
    return f"{new}: {title}, {nets.parameter_count(network)} parameters, epoch {content['epoch']}"


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with floating-point weights in float16, but for those of the first and the last convolution.

    All pixels pass these two. Rounding them, too, moved PSNR by up to 0.0016 dB; rounding the others by 0.0002 dB
    (docs/recipes.md).

    Raises:
        UserError: if a weight is too large for float16.
    """
    convolutions = [name for name, weight in state.items() if weight.dim() == 4]
    kept = {*convolutions[:1], *convolutions[-1:]}
    limit = torch.finfo(torch.float16).max
    found = dict(state)
    for name, weight in state.items():
        if name in kept or not weight.is_floating_point():
            continue
        largest = weight.abs().max().item() if weight.numel() else 0.0
        if largest > limit:
            raise UserError(f"--half holds no weight above {limit:g}, and {name} has {largest:g}: leave --half out")
        found[name] = weight.half()
    return found
