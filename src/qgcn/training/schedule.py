"""Learning rates as a function of the position in the run, so that a resumed run needs no state for them."""

import math
from dataclasses import dataclass

from qgcn.utils.errors import check_choice

GAMMA = 0.1
"""Factor of StepLR (published program)."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate schedules.

    Attributes:
        name: 'step', torch's StepLR with gamma 0.1, or 'cosine', half a period down to zero.
        lr: learning rate to begin with.
        epochs: length of the run.
        step_epochs: epochs between drops of 'step'.
        warmup: steps over which the rate rises linearly to the schedule's.
    """

    name: str
    lr: float
    epochs: float
    step_epochs: int
    warmup: int = 0

    def __post_init__(self):
        check_choice(self.name, ("step", "cosine"), "--schedule")

    def __call__(self, position: float, step: int) -> float:
        """The learning rate of step number ``step`` (from 0) at ``position`` in epochs (0..epochs)."""
        if self.name == "step":
            rate = self.lr * GAMMA ** (position // self.step_epochs)
        else:
            rate = self.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, position / self.epochs)))
        return rate * min(1.0, (step + 1) / self.warmup) if self.warmup else rate
