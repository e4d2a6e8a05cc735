"""The course of a run: its learning rates, how long it lasts, and the signals that end it before."""

import math
import signal
import time
from dataclasses import dataclass
from typing import NamedTuple

from qgcn.training.state import Progress
from qgcn.utils.errors import check_choice

GAMMA = 0.1
"""Factor of StepLR (published program)."""

SAME_REQUEST = 3.0
"""Seconds within which signals count as one: a terminal and a launcher both pass on a single Ctrl-C."""


@dataclass(frozen=True)
class Schedule:
    """Learning rates as a function of the position in the run, so that a resumed run needs no state for them."""

    name: str  # 'step', torch's StepLR with gamma 0.1, or 'cosine', half a period down to zero
    lr: float  # learning rate to begin with
    epochs: float  # length of the run
    step_epochs: int  # epochs between drops of 'step'
    warmup: int = 0  # steps over which the rate rises linearly to the schedule's

    def __post_init__(self):
        check_choice(self.name, ("step", "cosine"), "--schedule")

    def __call__(self, position: float, step: int) -> float:
        """The learning rate of step number ``step`` (from 0) at ``position`` in epochs (0..epochs)."""
        if self.name == "step":
            rate = self.lr * GAMMA ** (position // self.step_epochs)
        else:
            rate = self.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, position / self.epochs)))
        return rate * min(1.0, (step + 1) / self.warmup) if self.warmup else rate


class Signals:
    """SIGINT and SIGTERM as a request to save and stop, while this context lasts.

    Asked again after SAME_REQUEST seconds, the program leaves at once (KeyboardInterrupt): the last save stands.
    """

    received = 0  # or the first signal's number

    def __enter__(self) -> "Signals":
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._previous = {number: signal.signal(number, lambda number, _: self.request(number)) for number in numbers}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def request(self, number: int) -> None:
        """Ask to stop, as the signal of this number does."""
        if not self.received:
            self.received, self._since = number, time.monotonic()
        elif time.monotonic() - self._since > SAME_REQUEST:
            raise KeyboardInterrupt


class Limit(NamedTuple):
    """How long a run lasts: so many epochs or, if given, minutes, to which the schedule of those epochs is fitted."""

    epochs: int
    minutes: float | None = None

    def out_of_time(self, progress: Progress) -> bool:
        """Whether the minutes are over, be it within an epoch."""
        return self.minutes is not None and progress.seconds >= 60 * self.minutes

    def reached(self, progress: Progress) -> bool:
        """Whether nothing is left to train."""
        return self.out_of_time(progress) if self.minutes is not None else progress.epoch >= self.epochs

    def position(self, progress: Progress, samples: int) -> float:
        """The place in the schedule, in epochs: by the time where that is limited, else by an epoch's ``samples``."""
        if self.minutes is not None:
            return self.epochs * progress.seconds / (60 * self.minutes)
        return progress.epoch + progress.samples / samples
