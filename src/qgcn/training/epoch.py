"""One epoch of training, and the losses. No options, no paths."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from qgcn.dataset.crops import Batch, Samples
from qgcn.dataset.inputs import Input, scale
from qgcn.training.optimizer import MuonAdam
from qgcn.utils.errors import choose

LOSSES = {"L1": Tensor.abs, "L2": Tensor.square}
"""Name -> what is averaged of the differences."""


def build_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss called ``name``: of restored images and ground truth, B x C x H x W, one value a sample, B.

    Raises:
        UserError: for another name, listing the valid ones.
    """
    of_difference = choose(LOSSES, name, "--loss")
    return lambda restored, ground_truth: of_difference(restored - ground_truth).mean((1, 2, 3))


def train_one_epoch(
    network: nn.Module,
    assembly: Input,
    batches: Iterable[Samples],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer | MuonAdam,
    *,
    device: torch.device,
    autocast: AbstractContextManager,
    accumulate: int = 1,
    before_step: Callable[[], None],
    after_step: Callable[[float, int], bool],
) -> bool:
    """Take a step for every batch.

    Args:
        assembly: of the network's input.
        loss_function: from `build_loss`; its images lie about [-1, 1].
        autocast: entered around the forward pass.
        accumulate: parts in which each batch goes through the network; their gradients add up to the batch's.
        before_step: called before each step; sets the learning rate.
        after_step: called with this process's share of the step's loss and its samples; False ends the epoch.

    Returns:
        Whether the epoch was finished.

    Raises:
        FloatingPointError: if the loss or its gradient is not finite; the weights are those before that step.
    """
    network.train()
    for samples in batches:
        before_step()
        batch = samples.to(device)
        parts = [Batch(*part) for part in zip(*(tensor.chunk(accumulate) for tensor in batch), strict=True)]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=device)
        for number, part in enumerate(parts, 1):
            later = number < len(parts) and hasattr(network, "no_sync")  # processes add gradients up once a step
            with network.no_sync() if later else nullcontext():
                inputs = assembly.assemble(part.compressed, part.tables, part.reductions)
                with autocast:
                    restored = network(inputs)
                losses = loss_function(restored.float(), scale(part.ground_truth))
                part_loss = (losses * part.weights).sum()
                part_loss.backward()
                loss += part_loss.detach()
        gradient = nn.utils.clip_grad_norm_(network.parameters(), float("inf"))  # clips nothing: measured alone
        for name, value in (("loss", loss.item()), ("gradient", gradient.item())):
            if not np.isfinite(value):
                raise FloatingPointError(f"the {name} became {value}")
        optimizer.step()
        if not after_step(loss.item(), int(batch.weights.count_nonzero())):
            return False
    return True
