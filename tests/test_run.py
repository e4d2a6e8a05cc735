"""A run of plain parts: what is saved when, and where it goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import metrics
from runs import new_state

from qgcn import checkpoints
from qgcn.dataset.crops import StepSampler
from qgcn.training.run import Run
from qgcn.training.schedule import Limit, Schedule
from qgcn.utils.errors import UserError

CPU = torch.device("cpu")


def a_run(state, epochs=2, **more) -> Run:
    """A run of two steps an epoch that learns nothing."""
    sampler = StepSampler(crops=np.array([8]), samples=8, batch=4, seed=0)

    def train_epoch(before_step, after_step) -> bool:
        for keys in sampler:
            before_step()
            if not after_step(0.25, len(keys)):
                return False
        return True

    parts = {"schedule": Schedule("step", 1e-3, epochs, 1), "limit": Limit(epochs), "train_epoch": train_epoch}
    return Run(folder=Path("run"), command=[], state=state, device=CPU, sampler=sampler, **parts | more)


def saved() -> dict:
    return checkpoints.load("run/model_last.pth")["training"]["progress"]


def resumed_state():
    state = new_state(1)
    state.load(checkpoints.load("run/model_last.pth"))
    return state


def scores(*figures, calls=None):
    """A validation that returns one PSNR after the other and keeps the epochs it was called with."""
    left = list(figures)

    def validate(network, epoch):
        if calls is not None:
            calls.append(epoch)
        return {"input_psnr": 20.0, "psnr": left.pop(0), "ssim": 0.5, "psnr_b": 20.0}

    return validate


def test_a_run_without_validation_writes_each_epoch_once_and_under_both_names(monkeypatch):
    written, save = [], checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda path, content: (written.append(path.name), save(path, content)))
    assert a_run(new_state(0)).run() == 0
    assert written == ["model_epoch_1.pth", "model_epoch_2.pth"]
    assert Path("run/model_last.pth").read_bytes() == Path("run/model_epoch_2.pth").read_bytes()
    assert [(row["step"], row["loss"], row["lr"]) for row in metrics("run")] == [
        ("2", "0.25", "0.001"),
        ("4", "0.25", "0.0001"),
    ]


def test_a_run_that_another_one_came_before_overwrites_nothing():
    late, early = a_run(new_state(0)), a_run(new_state(1))
    assert early.run() == 0
    kept = Path("run/model_last.pth").read_bytes()
    with pytest.raises(UserError, match="'run' already holds a run"):
        late.run()
    assert Path("run/model_last.pth").read_bytes() == kept


def test_the_best_validation_is_kept_beside_the_last():
    assert a_run(new_state(0), validate=scores(31.0, 30.0)).run() == 0
    assert checkpoints.load("run/model_best.pth")["epoch"] == 1
    assert (saved()["best"], saved()["epoch"], saved()["validation_due"]) == (31.0, 2, False)


def test_what_breaks_in_validation_loses_no_training_and_is_validated_on_resuming():
    calls = []

    def broken(network, epoch):
        raise OSError("no image")

    with pytest.raises(OSError, match="no image"):
        a_run(new_state(0), validate=broken).run()
    assert (saved()["epoch"], saved()["step"], saved()["validation_due"]) == (1, 2, True)
    assert metrics("run") == [] and not Path("run/model_epoch_1.pth").exists()
    assert a_run(resumed_state(), validate=scores(31.0, 30.0, calls=calls)).run() == 0
    assert calls == [1, 2] and checkpoints.load("run/model_best.pth")["epoch"] == 1
    assert [(row["step"], row["loss"], row["psnr"]) for row in metrics("run")] == [
        ("2", "0.25", "31.0"),
        ("4", "0.25", "30.0"),
    ]
    assert Path("run/model_epoch_1.pth").exists()


def test_a_validation_whose_save_failed_is_logged_once(monkeypatch):
    save = checkpoints.save

    def full(path, content):
        if path.name == "model_epoch_1.pth":
            raise OSError("full")
        save(path, content)

    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.raises(OSError, match="full"):
        a_run(new_state(0), validate=scores(31.0), log_every=1).run()
    monkeypatch.setattr(checkpoints, "save", save)
    assert a_run(resumed_state(), validate=scores(31.0, 30.0), log_every=1).run() == 0
    rows = [(row["step"], row["loss"], row["psnr"]) for row in metrics("run")]
    losses = [(str(step), "0.25", "") for step in range(1, 5)]
    assert rows == [*losses[:2], ("2", "", "31.0"), *losses[2:], ("4", "", "30.0")]


def test_a_finished_run_says_what_to_raise(caplog):
    assert a_run(new_state(0)).run() == 0
    assert not any("nothing is left" in message for message in caplog.messages)
    assert a_run(resumed_state()).run() == 0
    assert "nothing is left to train up to --nEpochs 2: raise it to go on" in caplog.messages
    assert a_run(resumed_state(), limit=Limit(9, minutes=1e-9)).run() == 0
    assert "nothing is left to train up to --minutes 1e-09: raise it to go on" in caplog.messages
