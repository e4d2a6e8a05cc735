"""Learning rates against PyTorch's schedulers and analytic values."""

import math

import pytest
import torch

from qgcn.training.schedule import Schedule
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
