"""Losses by name: functions of B x C x H x W images that return one value a sample, B."""

from collections.abc import Callable

from torch import Tensor

from qgcn.utils.errors import choose


def l1(restored: Tensor, ground_truth: Tensor) -> Tensor:
    """Mean absolute difference of each sample."""
    return (restored - ground_truth).abs().mean((1, 2, 3))


def l2(restored: Tensor, ground_truth: Tensor) -> Tensor:
    """Mean squared difference of each sample."""
    return (restored - ground_truth).square().mean((1, 2, 3))


LOSSES = {"L1": l1, "L2": l2}


def build_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss called ``name``; raises UserError listing the valid names."""
    return choose(LOSSES, name, "--loss")
