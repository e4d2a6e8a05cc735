"""What resumes: weights, average, optimizer and progress."""

from pathlib import Path

import torch
from runs import new_state

from qgcn import checkpoints
from qgcn.training.state import Progress, State


def learn(state: State, steps: int) -> None:
    for seed in range(steps):
        torch.manual_seed(seed)
        state.optimizer.zero_grad()
        state.network(torch.rand(1, 5, 16, 16)).square().mean().backward()
        state.optimizer.step()
        state.count_step(0.5, 4)


def equal(first, second) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a)


def test_a_loaded_state_goes_on_as_the_saved_one():
    state, resumed = new_state(0, ema=0.9), new_state(1, ema=0.9)
    learn(state, 2)
    state.progress.best, state.progress.validation_due = 31.5, True
    state.save(Path("run/model_last.pth"))
    resumed.load(checkpoints.load("run/model_last.pth"))
    assert resumed.progress == state.progress
    assert resumed.progress == Progress(samples=8, step=2, best=31.5, loss_sum=1.0, loss_steps=2, validation_due=True)
    for one in (state, resumed):
        learn(one, 2)
    assert equal(state.network, resumed.network) and equal(state.network_to_use, resumed.network_to_use)
    assert not equal(state.network, state.network_to_use)


def test_a_copy_holds_the_same_bytes_in_a_file_of_its_own():
    first, copy = Path("run/model_epoch_1.pth"), Path("run/model_last.pth")
    new_state(0).save(first, copy)
    assert first.read_bytes() == copy.read_bytes() and not first.samefile(copy)


def test_averaging_that_is_new_begins_with_the_weights():
    state, resumed = new_state(0), new_state(1, ema=0.9)
    learn(state, 1)
    state.save(Path("last.pth"))
    resumed.load(checkpoints.load("last.pth"))
    assert equal(resumed.network_to_use, state.network)
    learn(resumed, 1)
    assert equal(resumed.network_to_use, resumed.network)  # the first step's weights


def test_a_checkpoint_to_share_has_the_weights_to_use_and_nothing_to_resume():
    state = new_state(0, ema=0.5)
    learn(state, 3)
    content = state.content()
    assert content.keys() == checkpoints.KEYS | {"format"}
    assert (content["net"], content["opt"], content["epoch"]) == ("qmar", {"lr": 1e-3}, 1)  # of an epoch begun
    assert all(torch.equal(value, content["model"][key]) for key, value in state.network_to_use.state_dict().items())


def test_a_state_of_before_with_random_states_loads():
    state, resumed = new_state(0), new_state(1)
    learn(state, 1)
    state.save(Path("last.pth"))
    content = checkpoints.load("last.pth")
    content["training"] |= {"rng": torch.get_rng_state(), "cuda_rng": None}
    del content["training"]["progress"]["validation_due"]
    resumed.load(content)
    assert resumed.progress == state.progress and equal(resumed.network, state.network)
