"""Interrupted and resumed runs: they end like ones left alone, and go on where and how a user says."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, metrics, refused, shell
from PIL import Image
from runs import TINY, at_forward, killed, progress, same, train, without_clock

from qgcn import checkpoints


def test_resumed_equals_uninterrupted_after_a_kill_at_any_moment(call, folder_of_photos):
    words = ["--nEpochs", 3, "--ema", 0.9, "--save_minutes", 1e-9, "--log_every", 2, "--lr", 1e-3]
    words += ["--schedule", "cosine", "--warmup", 5]
    assert train(call, folder_of_photos, *words).code == 0
    begin = ["--imgGTRoot", folder_of_photos, "--savedir", "killed", *TINY, *words]
    resume = ["--resume", "checkpoint/killed"]
    # Kills a few of the 54 steps apart, the second and third resumed from what the one before left.
    for argv, step in ((begin, 6), (resume, 4), (resume, 21)):
        killed(*argv, at=step)
    assert progress("checkpoint/killed/model_last.pth")["step"] == 28
    assert call("main", "--resume", "checkpoint/killed").code == 0
    for name in ("model_epoch_2.pth", "model_epoch_3.pth", "model_last.pth"):
        assert same(f"checkpoint/run/{name}", f"checkpoint/killed/{name}")
    assert without_clock(metrics("checkpoint/run")) == without_clock(metrics("checkpoint/killed"))
    assert not list(Path("checkpoint/killed").glob(".*.tmp"))


def test_a_kill_in_validation_loses_neither_training_nor_validation(call, folder_of_photos):
    words = ["--nEpochs", 2, "--samples_per_epoch", 8, "--holdout", 2]
    assert train(call, folder_of_photos, *words).code == 0
    begin = ["--imgGTRoot", folder_of_photos, "--savedir", "killed", *TINY, *words]
    killed(*begin, at=3, training=False)  # the first is the network's check, then come three images
    assert not Path("checkpoint/killed/model_epoch_1.pth").exists()
    assert call("main", "--resume", "checkpoint/killed").code == 0
    assert without_clock(metrics("checkpoint/run")) == without_clock(metrics("checkpoint/killed"))
    for name in ("model_epoch_1.pth", "model_last.pth"):
        assert same(f"checkpoint/run/{name}", f"checkpoint/killed/{name}")
    best = [checkpoints.load(f"checkpoint/{name}/model_best.pth")["epoch"] for name in ("run", "killed")]
    assert best[0] == best[1]


def test_a_killed_run_leaves_no_worker_that_keeps_its_folder(folder_of_photos):
    # batches larger than a pipe holds, so that a worker waits for somebody to take them
    words = ["--imgGTRoot", folder_of_photos, "--savedir", "run", *TINY, "--batchSize", 64, "--threads", 1]
    words += ["--nEpochs", 1000, "--samples_per_epoch", 64_000, "--save_minutes", 1e-9]
    command = [str(word) for word in [sys.executable, ROOT / "src" / "main.py", *words]]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not Path("checkpoint/run/model_last.pth").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = shell("main.py", "--resume", "checkpoint/run", "--samples_per_epoch", 64, "--nEpochs", 1)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits(call, folder_of_photos, monkeypatch, number):
    words = ["--nEpochs", 1, "--threads", 1]
    assert train(call, folder_of_photos, *words).code == 0
    at_forward(monkeypatch, 5, lambda: os.kill(os.getpid(), number))
    done = train(call, folder_of_photos, *words, savedir="stopped")
    assert done.code == 128 + number and "--resume" in done.err
    assert progress("checkpoint/stopped/model_last.pth")["samples"] == 20
    assert call("main", "--resume", "checkpoint/stopped/model_last.pth").code == 0
    assert same("checkpoint/run/model_last.pth", "checkpoint/stopped/model_last.pth")


def test_a_run_of_before_that_kept_random_states_goes_on(call, folder_of_photos):
    assert train(call, folder_of_photos, "--nEpochs", 2).code == 0
    assert train(call, folder_of_photos, "--nEpochs", 1, savedir="old").code == 0
    last = Path("checkpoint/old/model_last.pth")
    content = checkpoints.load(last)
    content["training"] |= {"rng": torch.get_rng_state(), "cuda_rng": torch.get_rng_state()}
    del content["training"]["progress"]["validation_due"]
    checkpoints.save(last, content)
    assert call("main", "--resume", "checkpoint/old", "--nEpochs", 2).code == 0
    assert same("checkpoint/run/model_last.pth", last)
    assert not {"rng", "cuda_rng"} & checkpoints.load(last)["training"].keys()


def test_an_option_of_a_run_that_has_gone_is_told(call, folder_of_photos):
    assert train(call, folder_of_photos, "--nEpochs", 1).code == 0
    last = Path("checkpoint/run/model_last.pth")
    content = checkpoints.load(last)
    content["opt"] |= {"revive": True, "checkpoint_activations": False}
    checkpoints.save(last, content)
    done = call("main", "--resume", "checkpoint/run", "--nEpochs", 2)
    assert done.code == 0 and "--revive, an option of this run, has gone: the run goes on without it" in done.err
    assert "checkpoint_activations" not in done.err


@pytest.mark.parametrize(
    "damage",
    [{"training": {}}, {"training": None}, {"opt": {}, "training": {"weights": {}}}],
    ids=["empty", "none", "opt"],
)
def test_a_damaged_training_state_is_one_sentence(call, folder_of_photos, damage):
    assert train(call, folder_of_photos, "--nEpochs", 1).code == 0
    last = Path("checkpoint/run/model_last.pth")
    checkpoints.save(last, checkpoints.load(last) | damage)
    words = ["--net", "qmar", "--n_feats", 8, "--n_resblocks", 1, "--imgGTRoot", folder_of_photos, "--threads", 0]
    done = call("main", "--resume", "checkpoint/run", "--nEpochs", 2, *words)
    refused(done, "training state", "checkpoint/run", "--pretrained")


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_finished_run_resumed_with_more_epochs_equals_a_longer_one(call, folder_of_photos, optimizer):
    words = ["--step", 1, "--optimizer", optimizer]
    assert train(call, folder_of_photos, "--nEpochs", 2, *words).code == 0
    assert train(call, folder_of_photos, "--nEpochs", 1, *words, savedir="short").code == 0
    done = call("main", "--resume", "checkpoint/short", "--nEpochs", 2)
    assert done.code == 0 and "--nEpochs is now 2; it was 1" in done.err
    assert same("checkpoint/run/model_last.pth", "checkpoint/short/model_last.pth")
    done = call("main", "--resume", "checkpoint/short")
    assert done.code == 0 and "nothing is left to train up to --nEpochs 2: raise it to go on" in done.err


def test_epochs_replace_the_minutes_of_a_run(call, folder_of_photos):
    assert train(call, folder_of_photos, "--minutes", 0.001, "--samples_per_epoch", 8).code == 0
    last = "checkpoint/run/model_last.pth"
    done = call("main", "--resume", "checkpoint/run")
    assert done.code == 0 and "nothing is left to train up to --minutes 0.001: raise it to go on" in done.err
    epochs = progress(last)["epoch"] + 2
    done = call("main", "--resume", "checkpoint/run", "--nEpochs", epochs)
    assert done.code == 0 and f"--nEpochs {epochs} ends the run now, not --minutes 0.001" in done.err
    assert (progress(last)["epoch"], progress(last)["samples"]) == (epochs, 0)
    assert checkpoints.load(last)["opt"]["minutes"] is None
    seconds = progress(last)["seconds"] + 1  # the time before counts
    done = call("main", "--resume", "checkpoint/run", "--minutes", seconds / 60)
    assert done.code == 0 and "it was None" in done.err
    assert seconds <= progress(last)["seconds"] < seconds + 5 and progress(last)["epoch"] >= epochs


def test_resuming_keeps_the_network_and_says_what_it_can_not_do(call, folder_of_photos, make_checkpoint):
    assert train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4).code == 0
    before = Path("checkpoint/run/model_last.pth").read_bytes()
    refused(call("main", "--resume", "checkpoint/run", "--n_feats", 16), "--n_feats 16", "8")
    refused(call("main", "--resume", "checkpoint/run", "--net", "edsr"), "--net edsr", "qmar")
    refused(call("main", "--resume", "checkpoint/run", "--optimizer", "muon"), "state of adam", "--pretrained")
    refused(call("main", "--resume", "checkpoint/run", "--pretrained", "checkpoint/run"), "--pretrained", "--resume")
    refused(call("main", "--resume", "checkpoint/run", "--init", "identity"), "--init", "--resume")
    refused(call("main", "--resume", "checkpoint/none"), "checkpoint/none", "does not exist")
    refused(call("main", "--resume", make_checkpoint("qmar")), "--pretrained")
    refused(train(call, folder_of_photos, "--nEpochs", 1), "already holds a run", "--resume")
    assert train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4, savedir="other").code == 0
    refused(call("main", "--resume", "checkpoint/other", "--savedir", "run"), "already holds another run")
    assert call("main", "--resume", "checkpoint/other", "--net", "qmar-Net").code == 0
    assert Path("checkpoint/run/model_last.pth").read_bytes() == before


def test_a_run_goes_on_elsewhere(call, folder_of_photos):
    """On another machine, in another folder, with a trace of what has changed."""
    assert train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4).code == 0
    content = checkpoints.load("checkpoint/run/model_last.pth")
    content["opt"] |= {"cuda": True, "gpus": [3]}  # as of a run on a GPU
    checkpoints.save(Path("downloads/model_last.pth"), content)
    Path("downloads/metrics.csv").write_text("mine")
    refused(call("main", "--resume", "downloads/model_last.pth"), "'downloads/model_last.pth'", "--savedir")
    assert Path("downloads/metrics.csv").read_text() == "mine"
    words = ["--resume", "downloads/model_last.pth", "--nEpochs", 2]
    done = call("main", *words, "--savedir", "new")
    assert done.code == 0, done.err
    written = Path("checkpoint/new/log.txt").read_text()
    for words_ in ("--nEpochs is now 2; it was 1", "the run goes on on the CPU; it was on a GPU", "device: cpu, fp32"):
        assert done.err.count(words_) == written.count(words_) == 1
    done = call("main", "--resume", "checkpoint/new", "--nEpochs", 3, "--lr", 1e-5)
    assert done.code == 0 and "goes on on" not in done.err  # on the CPU as before
    options = json.loads(Path("checkpoint/new/options.json").read_text())
    assert options["options"]["lr"] == 1e-5 and options["options"]["cuda"] is False
    assert options["earlier"] == [["src/main.py", *map(str, words), "--savedir", "new"]]


def test_the_best_is_of_this_folder_and_this_validation(call, folder_of_photos):
    words = ["--nEpochs", 1, "--samples_per_epoch", 4, "--holdout", 2, "--init", "identity", "--lr", 1e-9]
    assert train(call, folder_of_photos, *words, "--valid_quality", 90).code == 0
    best = Path("checkpoint/run/model_best.pth")
    before = best.read_bytes()
    assert call("main", "--resume", "checkpoint/run", "--nEpochs", 2, "--lr", 0.1).code == 0
    assert best.read_bytes() == before  # worse
    assert call("main", "--resume", "checkpoint/run", "--nEpochs", 3, "--valid_quality", 10).code == 0
    assert checkpoints.load(best)["epoch"] == 3  # at quality 10 every picture is worse than at 90 before
    again = call("main", "--resume", "checkpoint/run/model_last.pth", "--savedir", "moved", "--nEpochs", 4)
    assert again.code == 0 and checkpoints.load("checkpoint/moved/model_best.pth")["epoch"] == 4


def test_the_best_on_other_held_out_images_does_not_count(call, folder_of_photos):
    words = ["--nEpochs", 1, "--samples_per_epoch", 4, "--holdout", 2, "--init", "identity", "--lr", 1e-12]
    assert train(call, folder_of_photos, *words).code == 0
    Path("noise").mkdir()
    for name, pixels in zip("ab", np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8), strict=True):
        Image.fromarray(pixels).save(f"noise/{name}.png")
    assert call("main", "--resume", "checkpoint/run", "--nEpochs", 2, "--imgGTRoot", "noise").code == 0
    assert checkpoints.load("checkpoint/run/model_best.pth")["epoch"] == 2  # worse, but of other images


def test_the_best_of_epochs_that_are_taken_back_does_not_count(call, folder_of_photos):
    assert train(call, folder_of_photos, "--nEpochs", 2, "--holdout", 2, "--lr", 1e-3).code == 0
    best, last = Path("checkpoint/run/model_best.pth"), ("--resume", "checkpoint/run/model_epoch_1.pth")
    before = checkpoints.load(best)
    assert before["epoch"] == 2
    assert call("main", *last, "--lr", 1e-12).code == 0  # as good as after the first epoch, no better
    after = checkpoints.load(best)
    assert after["epoch"] == 2 and after["opt"]["lr"] == 1e-12


def test_a_full_disk_keeps_the_last_checkpoint(call, folder_of_photos, monkeypatch):
    assert train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4).code == 0
    last = Path("checkpoint/run/model_last.pth")
    before = last.read_bytes()
    from qgcn.utils import files

    fsync = os.fsync

    def full(descriptor):
        if "metrics" not in os.readlink(f"/proc/self/fd/{descriptor}") and full.armed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    full.armed = False
    real_save = checkpoints.save

    def save(path, content):
        full.armed = True
        real_save(path, content)

    monkeypatch.setattr(files.os, "fsync", full)
    monkeypatch.setattr(checkpoints, "save", save)
    done = call("main", "--resume", "checkpoint/run", "--nEpochs", 2)
    assert done.code == 2 and "No space left" in done.err and "Traceback" not in done.err
    assert last.read_bytes() == before
    assert not list(last.parent.glob(".*.tmp"))
