"""What ends a run: signals and limits."""

import os
import signal

import pytest

from qgcn.training import stopping
from qgcn.training.state import Progress
from qgcn.training.stopping import SAME_REQUEST, Limit, Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_a_request_and_the_next_one_ends_the_program(monkeypatch, number):
    now = 100.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    before = signal.getsignal(number)
    with Signals() as signals:
        assert not signals.received
        for _ in range(2):  # a terminal and a launcher pass on the same Ctrl-C
            os.kill(os.getpid(), number)
        assert signals.received == number
        now += SAME_REQUEST + 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_epochs_end_a_run_without_minutes():
    limit = Limit(3)
    assert [limit.reached(Progress(epoch=epoch, seconds=1e9)) for epoch in (0, 2, 3, 4)] == [False, False, True, True]
    assert not limit.out_of_time(Progress(seconds=1e9))
    assert limit.position(Progress(epoch=2, samples=25, seconds=1e9), 100) == 2.25


def test_minutes_end_a_run_instead_of_epochs():
    limit = Limit(50, minutes=2)
    assert [limit.reached(Progress(epoch=99, seconds=seconds)) for seconds in (0, 119, 120)] == [False, False, True]
    assert limit.position(Progress(epoch=99, seconds=30), 100) == 12.5  # a quarter of the time, of the 50 epochs
