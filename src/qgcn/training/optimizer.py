"""Optimizers: Adam as published, or Muon for the residual blocks beside Adam for the rest."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qgcn.nets.base import Residual_Block
from qgcn.utils.errors import UserError, check_choice

MOMENTUM = 0.95
"""Of Muon, with Nesterov's step (Jordan et al. 2024)."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the iteration that brings all singular values near 1 in five steps (Jordan et al. 2024)."""
NEWTON_SCHULZ_STEPS = 5
STEP = 4.0
"""Root mean square of Muon's steps, as a multiple of the learning rate that Adam takes outside the residual blocks.
Adam's own steps are of about 1 there: the layers that pixels pass want smaller ones (docs/recipes.md)."""


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before each step.

    The weights of a convolution count as a matrix with a row for each output channel. A step has a root mean square of
    about STEP * ``lr``.

    Args:
        params: of at least two dimensions.
        lr: learning rate.
    """

    def __init__(self, params: Sequence[Tensor], lr: float):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        for group in self.param_groups:
            alike = defaultdict(list)  # a GPU takes all matrices of one shape in the time of one
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.shape].append(weight)
            for shape, weights in alike.items():
                ahead = torch.stack([self._ahead(weight) for weight in weights])
                updates = orthogonal(ahead) * max(ahead.shape[1:]) ** 0.5
                for weight, update in zip(weights, updates, strict=True):
                    weight.sub_(update.reshape(shape), alpha=STEP * group["lr"])

    def _ahead(self, weight: Tensor) -> Tensor:
        """Nesterov's momentum of a weight after its gradient, as a matrix."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        return weight.grad.lerp(momentum, MOMENTUM).flatten(1)


def orthogonal(matrix: Tensor) -> Tensor:
    """Matrices (float32, ... x M x N) with the singular vectors of ``matrix``, singular values of about 0.7 to 1.2."""
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    wide = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp_min(1e-7)
    first, third, fifth = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = wide @ wide.mT
        wide = first * wide + (third * square + fifth * square @ square) @ wide
    return wide if matrix.shape[-2] <= matrix.shape[-1] else wide.mT


class MuonAdam:
    """Muon for the convolutions of the residual blocks, Adam for everything else, as one optimizer.

    Outside the residual blocks lie the few layers that pixels pass, biases and the global branch, for which Muon is
    not made.
    """

    def __init__(self, network: nn.Module, lr: float):
        blocks = [module for module in network.modules() if isinstance(module, Residual_Block)]
        inside = [parameter for block in blocks for parameter in block.parameters()]
        ids = set(map(id, inside))
        outside = [parameter for parameter in network.parameters() if id(parameter) not in ids]
        if not inside:
            raise UserError("--optimizer muon works on residual blocks: take adam for this network")
        self.parts = {"muon": Muon(inside, lr), "adam": torch.optim.Adam(outside, lr)}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, whose "lr" may be set."""
        return [group for part in self.parts.values() for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts.values():
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """Change the parameters."""
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def build_optimizer(name: str, network: nn.Module, lr: float) -> torch.optim.Adam | MuonAdam:
    """The optimizer called ``name``: 'adam' (published; PyTorch's other defaults) or 'muon'.

    Raises:
        UserError: for another name, or a network without residual blocks for Muon.
    """
    if check_choice(name, ("adam", "muon"), "--optimizer") == "adam":
        return torch.optim.Adam(network.parameters(), lr=lr)
    return MuonAdam(network, lr)
