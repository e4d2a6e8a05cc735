"""Conversion: what is kept, what is left out, and what is never overwritten."""

from pathlib import Path

import pytest
import torch
from conftest import network_arguments, refused
from published_format import data_parallel, write

from qgcn import checkpoints, nets

PUBLISHED_OPTIONS = {
    "net": "qmarg", "n_resblocks": 2, "colorMode": "RGB", "quality": "[1,60]", "cuda": True, "resume": None,
    "imgGTRoot": "/home/somebody/DIV2K_train_HR", "imgValidRoot": "/home/somebody/DIV2K_valid_HR", "savedir": "mine",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in nets.NETWORKS if name != "qmar_plus"])  # not published
@pytest.mark.parametrize("stream", [True, False], ids=["torch-0.4.1", "zip"])
def test_a_published_checkpoint_becomes_plain_data(tmp_path, call, name, stream):
    torch.manual_seed(3)
    network = nets.build(name, network_arguments(name))
    content = {"epoch": 17, "model": data_parallel(network), "opt": PUBLISHED_OPTIONS}
    old = write(tmp_path / "QCN_RGB_[10,50].pth", content, stream=stream, location="cuda:0")
    before = old.read_bytes()
    done = call("convert", old, tmp_path / "new.pth")
    assert done.code == 0 and done.out.count("\n") == 1
    for words in (nets.kind(name).title, f"{nets.parameter_count(network)} parameters", "epoch 17"):
        assert words in done.out
    new = torch.load(tmp_path / "new.pth", weights_only=True)
    assert new.keys() == {"format", "net", "arguments", "model", "opt", "epoch"}
    assert list(new["model"]) == list(network.state_dict())
    assert all(torch.equal(new["model"][key], value) for key, value in network.state_dict().items())
    assert "somebody" not in str(new["opt"]) and "mine" not in str(new["opt"])
    assert new["opt"]["quality"] == "[1,60]" and new["net"] == name
    assert old.read_bytes() == before


def test_a_checkpoint_of_a_run_loses_optimizer_and_local_paths(call, folder_of_photos, tmp_path):
    words = ["--imgGTRoot", folder_of_photos, "--n_feats", 8, "--n_resblocks", 1, "--size", 32, "--store", "store"]
    words += ["--nEpochs", 1, "--samples_per_epoch", 16, "--threads", 0, "--ema", 0.5]
    assert call("main", *words).code == 0
    old = Path("checkpoint/run/model_last.pth")
    assert call("convert", old, "new.pth").code == 0
    assert Path("new.pth").stat().st_size < old.stat().st_size / 3
    source, new = torch.load(old, weights_only=True), torch.load("new.pth", weights_only=True)
    assert new["model"].keys() == source["model"].keys() and "training" not in new
    assert all(torch.equal(value, source["model"][key]) for key, value in new["model"].items())
    assert str(tmp_path) not in str(new["opt"]) and new["opt"]["size"] == 32
    refused(call("main", "--resume", "new.pth"), "new.pth", "--pretrained")
    # What is converted already stays as it is.
    assert call("convert", "new.pth", "again.pth").code == 0
    again = torch.load("again.pth", weights_only=True)
    assert again.keys() == new.keys() and again["opt"] == new["opt"]


THROUGH_WHICH_ALL_PIXELS_PASS = {"conv_input.weight", "conv_output.weight"}


def rounded(weights):
    """Weights as float16 holds them, in float32, but for those that --half leaves in float32."""
    return {
        name: weight if name in THROUGH_WHICH_ALL_PIXELS_PASS else weight.half().float()
        for name, weight in weights.items()
    }


@pytest.mark.parametrize("stream", [None, True, False], ids=["own format", "torch-0.4.1", "zip"])
def test_half_stores_float16_and_loads_as_float32(tmp_path, call, stream):
    torch.manual_seed(3)
    arguments = network_arguments("qmarg", n_feats=32)
    network = nets.build("qmarg", arguments)
    old = tmp_path / "old.pth"
    if stream is None:
        checkpoints.save(old, checkpoints.describe(network, "qmarg", arguments, {"net": "qmarg"}, 17))
    else:
        write(old, {"epoch": 17, "model": network, "opt": PUBLISHED_OPTIONS}, stream=stream)
    assert call("convert", "--half", old, "half.pth").code == 0
    assert call("convert", old, "full.pth").code == 0
    assert Path("half.pth").stat().st_size == pytest.approx(Path("full.pth").stat().st_size / 2, rel=0.1)
    stored = torch.load("half.pth")["model"]
    assert {name for name, weight in stored.items() if weight.dtype != torch.float16} == THROUGH_WHICH_ALL_PIXELS_PASS
    content = checkpoints.load("half.pth")
    expected = rounded(network.state_dict())
    assert list(content["model"]) == list(expected)
    for name, weight in content["model"].items():
        assert weight.dtype == torch.float32 and torch.equal(weight, expected[name])
    network.load_state_dict(expected)
    inputs = (torch.rand(1, 5, 16, 24) * 2 - 1, torch.rand(1, 3, 112, 112) * 2 - 1)
    with torch.inference_mode():
        assert torch.equal(checkpoints.build_network(content)(inputs), network(inputs))


def test_integers_stay_as_they_are(make_checkpoint):
    content = checkpoints.load(make_checkpoint("arcnn", 1))
    content["model"]["count"] = torch.tensor([70000])
    checkpoints.save("integers.pth", content)
    loaded = checkpoints.load("integers.pth")["model"]["count"]
    assert loaded.dtype == torch.int64 and loaded == 70000


@pytest.mark.parametrize("weight", [65536.0, -1e9])
def test_half_refuses_a_weight_that_float16_can_not_hold(call, make_checkpoint, weight):
    path = make_checkpoint("qmar")
    content = checkpoints.load(path)
    content["model"]["conv_mid.weight"][0, 0, 1, 1] = weight
    checkpoints.save(path, content)
    refused(call("convert", "--half", path, "new.pth"), "conv_mid.weight", "65504", f"{abs(weight):g}", "--half")
    assert not Path("new.pth").exists()
    assert call("convert", path, "new.pth").code == 0


def test_conversion_overwrites_nothing_unless_told_to(call, make_checkpoint):
    old = make_checkpoint("qmar")
    before = old.read_bytes()
    for words in ((), ("--overwrite",)):  # a run's own file would lose what --resume needs
        refused(call("convert", old, old, *words), "is the checkpoint to convert")
    assert old.read_bytes() == before
    assert call("convert", old, "new.pth").code == 0
    refused(call("convert", old, "new.pth"), "'new.pth' exists", "--overwrite")
    Path("folder").mkdir()
    refused(call("convert", old, "folder", "--overwrite"), "'folder' is a folder")
    assert call("convert", make_checkpoint("edsr"), "new.pth", "--overwrite").code == 0
    assert checkpoints.load("new.pth")["net"] == "edsr"


def test_what_can_not_be_converted_leaves_nothing_behind(call, make_checkpoint):
    Path("text.pth").write_text("not a checkpoint")
    refused(call("convert", "none.pth", "new.pth"), "'none.pth' does not exist")
    refused(call("convert", "text.pth", "new.pth"), "'text.pth' can't be read")
    refused(call("convert", make_checkpoint("qmar"), "text.pth/new.pth"), "text.pth")
    assert not Path("new.pth").exists() and Path("text.pth").read_text() == "not a checkpoint"
    assert not list(Path().rglob(".*.tmp"))
