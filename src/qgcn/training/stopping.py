"""What ends a run: signals, and its number of epochs or the clock of --minutes."""

import signal
import time
from typing import NamedTuple

from qgcn.training.state import Progress

SAME_REQUEST = 3.0
"""Seconds within which signals count as one: a terminal and a launcher both pass on a single Ctrl-C."""


class Signals:
    """SIGINT and SIGTERM as a request to save and stop, while this context lasts.

    Asked again after SAME_REQUEST seconds, the program leaves at once (KeyboardInterrupt): the last save stands.

    Attributes:
        received: the first signal's number, or 0.
    """

    received = 0

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
