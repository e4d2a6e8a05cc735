"""What a training run goes on from: weights, their average, the optimizer and the progress, as a checkpoint holds them.

Nothing random is among it: a sample depends on the seed, its epoch and its index alone.
"""

import shutil
from collections.abc import Mapping
from dataclasses import InitVar, asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from qgcn import checkpoints
from qgcn.training.optimizer import MuonAdam
from qgcn.utils.files import atomic_write

LAST, BEST = "model_last.pth", "model_best.pth"
"""Checkpoints of a run folder: the one to resume from, and the weights of the best validation."""


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # finished epochs
    samples: int = 0  # samples used of the epoch in progress
    step: int = 0  # optimizer steps
    seconds: float = 0.0
    best: float = float("-inf")  # highest validation PSNR, dB
    loss_sum: float = 0.0  # of the steps since the last row of metrics; their number is ``loss_steps``
    loss_steps: int = 0
    validation_due: bool = False  # whether the validation at this place is still to be done

    @property
    def begun_epochs(self) -> int:
        """Epochs so far, the last of which may not be finished."""
        return self.epoch + (self.samples > 0)


@dataclass(eq=False)
class State:
    """What changes in training."""

    network: nn.Module  # on the device that trains it
    name: str  # with ``arguments`` what `nets.build` made it of
    arguments: dict[str, Any]
    optimizer: torch.optim.Optimizer | MuonAdam  # of its parameters
    options: dict[str, Any]  # of the run, as checkpoints keep them
    ema: InitVar[float] = 0.0  # decay of the averaged weights; 0 for none
    progress: Progress = field(default_factory=Progress, init=False)

    def __post_init__(self, ema: float):
        self.average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None

    @property
    def network_to_use(self) -> nn.Module:
        """The network with the averaged weights, if there are any."""
        return self.average.module if self.average is not None else self.network

    def count_step(self, loss: float, samples: int) -> None:
        """Take note of an optimizer step: its mean loss, and the samples of all processes."""
        self.progress.step += 1
        self.progress.samples += samples
        self.progress.loss_sum += loss
        self.progress.loss_steps += 1
        if self.average is not None:
            self.average.update_parameters(self.network)

    def content(self) -> dict[str, Any]:
        """A checkpoint of the weights to use (checkpoints.describe)."""
        epoch = self.progress.begun_epochs
        return checkpoints.describe(self.network_to_use, self.name, self.arguments, self.options, epoch)

    def save(self, path: Path, copy: Path | None = None) -> None:
        """Write a checkpoint to `load`: that of `content` and what training needs besides; and a copy of the file."""
        training = {
            "weights": {key: value.detach().cpu().contiguous() for key, value in self.network.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "averaged": int(self.average.n_averaged) if self.average is not None else None,
        }
        checkpoints.save(path, {**self.content(), "training": training})
        if copy:
            with open(path, "rb") as source, atomic_write(copy) as target:
                shutil.copyfileobj(source, target)

    def load(self, content: Mapping[str, Any]) -> None:
        """Go on from a checkpoint that `save` wrote; averaging that is new begins with its weights."""
        training = content["training"]
        self.network.load_state_dict(training["weights"])
        self.optimizer.load_state_dict(training["optimizer"])
        self.progress = Progress(**training["progress"])
        if self.average is not None:
            begun = training["averaged"] is not None
            self.average.module.load_state_dict(content["model"] if begun else training["weights"])
            self.average.n_averaged.fill_(training["averaged"] if begun else 0)
