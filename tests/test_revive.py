"""Dead features are given fresh weights that change nothing at first."""

from pathlib import Path

import pytest
import torch
from conftest import network_arguments

import nets
from nets.revive import revive
from utils import checkpoint


@pytest.fixture
def inputs():
    """What a QGCN for colour takes, of four images."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(4, 5, 32, 32, generator=generator) * 2 - 1
    return x, torch.rand(4, 3, 112, 112, generator=generator) * 2 - 1


@torch.no_grad()
def kill(network, rows=slice(3, 9)):
    """Makes features of the first block never fire (what it sees is positive) and the global branch blind."""
    network.residual1[0].conv1.weight[rows] = -1.0
    network.conv_global[-2].weight.zero_()
    network.conv_global[-2].bias.fill_(-1.0)


def alive(network, inputs):
    """How many images and positions each inner feature of the first block fires at, and the global features."""
    fired = []
    with torch.no_grad():
        features = network.downscale(network.conv_input(inputs[0]))
        fired = (network.residual1[0].conv1(features) > 0).float().mean((0, 2, 3))
        return fired, network.global_features(inputs[1])


def test_what_is_dead_lives_again_and_changes_nothing_at_first(inputs):
    torch.manual_seed(0)
    network = nets.build("qmarg", network_arguments("qmarg"))
    kill(network)
    fired, vector = alive(network, inputs)
    assert (fired == 0).sum() >= 6 and torch.equal(vector, vector[:1].expand_as(vector))
    before = network(inputs).detach()
    kept = network.residual1[0].conv1.weight[9:].clone()

    names = revive(network, inputs, torch.Generator().manual_seed(2))
    assert {"residual1.0.conv1.weight", "conv_global.0.weight", "conv_global_l.2.bias"} <= set(names)
    torch.testing.assert_close(network(inputs), before, rtol=0, atol=1e-6)
    assert torch.equal(network.residual1[0].conv1.weight[9:], kept)  # what lives stays as it is
    fired, _ = alive(network, inputs)
    assert ((fired[3:9] > 0.2) & (fired[3:9] < 0.8)).all()

    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        network(inputs).square().mean().backward()
        optimizer.step()
    assert all(network.residual1[0].conv1.weight.grad[row].abs().sum() > 0 for row in range(3, 9))
    assert network.conv_global[0].weight.grad.abs().sum() > 0
    _, vector = alive(network, inputs)
    assert not torch.equal(vector, vector[:1].expand_as(vector))


def test_a_healthy_network_stays_as_it_is(inputs):
    torch.manual_seed(0)
    network = nets.build("qmarg", network_arguments("qmarg"))
    revive(network, inputs, torch.Generator())  # what was drawn dead
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    assert revive(network, inputs, torch.Generator()) == []
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_images_that_do_not_differ_say_nothing_of_the_global_branch(inputs):
    network = nets.build("qmarg", network_arguments("qmarg"))
    kill(network)
    one = tuple(tensor[:1].expand_as(tensor) for tensor in inputs)
    assert not any(name.startswith("conv_global") for name in revive(network, one, torch.Generator()))


@pytest.mark.parametrize("name", ["qmar", "edsr", "arcnn"])
def test_other_networks_too(inputs, name):
    torch.manual_seed(0)
    network = nets.build(name, network_arguments(name))
    image = inputs[0] if name == "qmar" else inputs[0][:, :3]
    block = None if name == "arcnn" else network.residual[0]
    if block:
        with torch.no_grad():
            block.conv1.weight[5] = 0
    before = network(image).detach()
    names = revive(network, image, torch.Generator())
    torch.testing.assert_close(network(image), before, rtol=0, atol=1e-6)
    assert ("residual.0.conv1.weight" in names) == (block is not None)


def test_training_revives_before_every_epoch(call, folder_of_photos, make_checkpoint):
    path = make_checkpoint("qmarg")
    content = checkpoint.load(path)
    network = checkpoint.build_network(content)
    kill(network)
    checkpoint.save(path, content | {"model": network.state_dict()})
    words = ["--imgGTRoot", folder_of_photos, "--net", "qmarg", "--n_feats", 24, "--n_resblocks", 2, "--size", 32]
    words += ["--global_feats", 4, "--global_hidden", 8, "--pretrained", path, "--threads", 0, "--store", "store"]
    words += ["--samples_per_epoch", 12, "--batchSize", 4, "--lr", 1e-3, "--ema", 0.5]
    for run, more in (("dead", ["--nEpochs", 1]), ("whole", ["--nEpochs", 2, "--revive"])):
        done = call("main", *words, *more, "--savedir", run)
        assert done.code == 0 and ("epoch 1: " in done.err and "weights of dead features drawn anew" in done.err) == (
            run == "whole"
        )
    ends = [checkpoint.load(f"checkpoint/{run}/model_last.pth")["model"] for run in ("dead", "whole")]
    assert [bool(end["conv_global.0.weight"].sub(content["model"]["conv_global.0.weight"]).any()) for end in ends] == [
        False,
        True,
    ]
    # resumed between the epochs as if never stopped
    assert call("main", *words, "--nEpochs", 1, "--revive", "--savedir", "short").code == 0
    assert call("main", "--resume", "checkpoint/short", "--nEpochs", 2).code == 0
    short = Path("checkpoint/short/model_last.pth")
    resumed = checkpoint.load(short)["model"]
    assert all(torch.equal(resumed[name], weight) for name, weight in ends[1].items())

    # what dies later is revived before the third epoch, in the averaged weights alike; without --revive it stays dead
    content = checkpoint.load(short)
    for weights in (content["model"], content["training"]["weights"]):
        network.load_state_dict(weights)
        kill(network)
        weights |= {name: weight.clone() for name, weight in network.state_dict().items()}
    dead = content["model"]["residual1.0.conv1.weight"]
    for more in (["--no-revive"], []):
        checkpoint.save(short, content)
        done = call("main", "--resume", "checkpoint/short", "--nEpochs", 3, "--lr", 1e-9, *more)
        assert done.code == 0 and ("epoch 3: " in done.err and "drawn anew" in done.err) == (not more), done.err
        after = checkpoint.load(short)
        for weights in (after["model"], after["training"]["weights"]):
            assert torch.allclose(weights["residual1.0.conv1.weight"][3:9], dead[3:9], atol=1e-6) == bool(more)


def test_denormal_numbers_are_flushed_in_training_alone(call, folder_of_photos, monkeypatch):
    import training

    tiny = torch.tensor([1e-39])
    seen = []
    monkeypatch.setattr(training.Training, "run", lambda *_: seen.append(float(tiny * 0.5)) or 0)
    assert call("main", "--imgGTRoot", folder_of_photos, "--size", 32, "--store", "store").code == 0
    assert seen == [0.0] and float(tiny * 0.5) > 0
