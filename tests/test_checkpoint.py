"""Checkpoints are data that rebuild their own network."""

import errno
import os
from pathlib import Path

import pytest
import torch
from conftest import network_arguments, refused

from qgcn import checkpoints, nets
from qgcn.utils import files
from qgcn.utils.errors import UserError


@pytest.mark.parametrize("name", list(nets.NETWORKS))
def test_a_checkpoint_rebuilds_its_network(make_checkpoint, name):
    path = make_checkpoint(name, 1)
    content = checkpoints.load(path)
    network = checkpoints.build_network(content)
    assert isinstance(network, nets.kind(name).network)
    assert checkpoints.image_channels(content) == 1
    plain = torch.load(path, weights_only=True)
    assert plain.keys() == {"format", "net", "arguments", "model", "opt", "epoch"}
    assert all(torch.equal(plain["model"][key], value) for key, value in network.state_dict().items())


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"'.*none\.pth' does not exist"):
        checkpoints.load(tmp_path / "none.pth")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "foreign.pth")
    with pytest.raises(UserError, match=r"foreign\.pth' is no checkpoint of this project"):
        checkpoints.load(tmp_path / "foreign.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(UserError, match=r"text\.pth' can't be read"):
        checkpoints.load(tmp_path / "text.pth")


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path):
    network = nets.build("qmar", network_arguments("qmar"))
    content = checkpoints.describe(network, "qmar", network_arguments("qmar", n_feats=16), {}, 1)
    with pytest.raises(UserError, match="do not fit"):
        checkpoints.build_network(content)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ([1.0], "no state dict"),
        ({"weight": 1.0}, "no state dict"),
        ({"weight": torch.zeros(1, dtype=torch.float16).expand(1 << 40)}, "larger than the file"),
    ],
)
def test_what_is_no_state_dict_is_refused(make_checkpoint, model, told):
    path = make_checkpoint("qmar")
    checkpoints.save(path, checkpoints.load(path) | {"model": model})
    with pytest.raises(UserError, match=told):
        checkpoints.load(path)


def test_weights_that_share_memory_load(make_checkpoint):
    path = make_checkpoint("qmar")
    content = checkpoints.load(path)
    shared = torch.zeros(100_000)
    checkpoints.save(path, content | {"model": {str(number): shared for number in range(9)}})
    assert list(checkpoints.load(path)["model"]) == list("012345678")


def test_weights_that_are_not_finite_are_refused(make_checkpoint, call, folder_of_photos):
    path = make_checkpoint("qmar")
    content = checkpoints.load(path)
    content["model"]["conv_output.weight"][0, 0, 1, 1] = float("nan")
    checkpoints.save(path, content)
    for done in (
        call("restore", folder_of_photos, "--quality", 10, "--model", path),
        call("eval_qm", "--GT", "--gtdata", folder_of_photos, "--model", path),
        call("convert", path, "new.pth"),
    ):
        refused(done, "conv_output.weight", "not finite")
    assert not Path("results").exists() and not Path("new.pth").exists()


def test_truncation_anywhere_is_told(make_checkpoint):
    path = make_checkpoint("arcnn", 1)
    whole = path.read_bytes()
    for length in [0, 10, *range(1000, len(whole), len(whole) // 20), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            checkpoints.load(path)


def test_a_full_disk_costs_the_new_file_only(make_checkpoint, monkeypatch):
    path = make_checkpoint("arcnn", 1)
    before = path.read_bytes()
    content = checkpoints.load(path)

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(path, content | {"epoch": 2})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
