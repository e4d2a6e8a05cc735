"""The course of a run: learning rates against PyTorch's schedulers and analytic values, signals and limits."""

import math
import os
import signal

import pytest
import torch

from qgcn.training import schedule as module
from qgcn.training.schedule import SAME_REQUEST, Limit, Schedule, Signals
from qgcn.training.state import Progress
from qgcn.utils.errors import UserError


def test_step_is_torchs_step_lr():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-4)
    peer = torch.optim.lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.1)
    schedule = Schedule("step", 1e-4, epochs=50, step_epochs=20)
    for epoch in range(50):
        for position in (epoch, epoch + 0.999):
            assert schedule(position, 10**6) == pytest.approx(peer.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        peer.step()


def test_cosine_falls_from_the_rate_to_nothing():
    schedule = Schedule("cosine", 2.0, epochs=10, step_epochs=20)
    assert [schedule(position, 0) for position in (0, 5, 10, 11)] == pytest.approx([2, 1, 0, 0])
    assert schedule(2.5, 0) == pytest.approx(1 + math.sqrt(0.5))


def test_warm_up_is_linear():
    schedule = Schedule("step", 1.0, epochs=10, step_epochs=20, warmup=4)
    assert [schedule(0, step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_an_unknown_schedule_is_told():
    with pytest.raises(UserError, match="'linear' is unknown: choose from step, cosine"):
        Schedule("linear", 1.0, 1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_a_request_and_the_next_one_ends_the_program(monkeypatch, number):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
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
