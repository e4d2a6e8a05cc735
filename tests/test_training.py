"""Training runs: what they leave behind, and that an interrupted one ends like one left alone."""

import errno
import json
import math
import os
import re
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

from qgcn import checkpoints
from qgcn.nets import qmar
from qgcn.utils import distributed
from qgcn.utils.files import locked

TINY = ["--n_feats", 8, "--n_resblocks", 1, "--size", 32, "--batchSize", 4, "--threads", 0, "--store", "store"]


def train(call, folder, *words, net="qmar", savedir="run"):
    return call("main", "--imgGTRoot", folder, "--net", net, "--savedir", savedir, *TINY, *words)


def weights(path):
    content = torch.load(path, weights_only=True)
    return {**content["model"], **{f"raw.{key}": value for key, value in content["training"]["weights"].items()}}


def same(first, second):
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def without_clock(table):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in table]


def test_a_run_folder_holds_all_that_explains_its_numbers(call, folder_of_photos):
    done = train(
        call, folder_of_photos, "--nEpochs", 2, "--validation", "--imgValidRoot", folder_of_photos, "--log_every", 3
    )
    assert done.code == 0, done.err
    folder = Path("checkpoint/run")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "options.json", "log.txt", "metrics.csv", "tensorboard", "model_epoch_1.pth", "model_epoch_2.pth",
        "model_last.pth", "model_best.pth",
    }  # fmt: skip
    table = metrics(folder)
    # 6 images of 96 x 128 hold 3 x 4 crops each: 72 samples, 18 steps an epoch.
    losses = [row for row in table if row["loss"]]
    validations = [row for row in table if row["psnr"]]
    assert [int(row["step"]) for row in losses] == list(range(3, 37, 3))
    assert [int(row["samples"]) for row in validations] == [72, 144]
    assert all(20 < float(row["input_psnr"]) < 40 and 0 < float(row["ssim"]) < 1 for row in validations)
    options = json.loads((folder / "options.json").read_text())
    assert options["options"]["n_feats"] == 8 and options["options"]["quality"] == [1, 60]
    assert options["command"][0] == "src/main.py" and options["versions"]["torch"] == torch.__version__
    assert any(folder.joinpath("tensorboard").iterdir())
    last = torch.load(folder / "model_last.pth", weights_only=True)
    assert last["epoch"] == 2 and last["training"]["progress"]["step"] == 36
    best = torch.load(folder / "model_best.pth", weights_only=True)
    assert "training" not in best
    assert best["epoch"] == 1 + int(np.argmax([float(row["psnr"]) for row in validations]))


def test_the_loss_falls_and_the_identity_start_is_the_input(call, folder_of_photos):
    words = ["--init", "identity", "--nEpochs", 1, "--validation", "--imgValidRoot", folder_of_photos]
    done = train(call, folder_of_photos, *words, "--lr", 1e-12)
    assert done.code == 0, done.err
    (row,) = [row for row in metrics("checkpoint/run") if row["psnr"]]
    assert float(row["psnr"]) == pytest.approx(float(row["input_psnr"]), abs=0.01)
    done = train(call, folder_of_photos, "--nEpochs", 4, "--lr", 1e-3, "--log_every", 18, savedir="published")
    losses = [float(row["loss"]) for row in metrics("checkpoint/published")]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("net", "mode"), [("qmarg", "L"), ("qmarg", "RGB"), ("edsr", "L"), ("arcnn", "RGB")])
def test_every_network_trains_in_both_colour_modes(call, folder_of_photos, net, mode):
    words = ["--global_feats", 2, "--global_hidden", 4, "--nEpochs", 1, "--samples_per_epoch", 8, "--loss", "L2"]
    done = train(call, folder_of_photos, "--colorMode", mode, *words, net=net)
    assert done.code == 0, done.err
    content = checkpoints.load("checkpoint/run/model_epoch_1.pth")
    assert checkpoints.image_channels(content) == (1 if mode == "L" else 3)


def test_resumed_equals_uninterrupted_after_a_kill_at_any_moment(call, folder_of_photos, tmp_path):
    words = [
        "--nEpochs",
        3,
        "--ema",
        0.9,
        "--save_minutes",
        1e-9,
        "--log_every",
        2,
        "--schedule",
        "cosine",
        "--warmup",
        5,
    ]
    assert train(call, folder_of_photos, *words, "--lr", 1e-3).code == 0
    begin = ["--imgGTRoot", folder_of_photos, "--savedir", "killed", *TINY, *words, "--lr", 1e-3]
    resume = ["--resume", "checkpoint/killed"]
    # Kills a few of the 54 steps apart, the second and third resumed from what the one before left.
    for argv, stop_after in ((begin, 5), (resume, 3), (resume, 20)):
        code = (
            "import os, signal, sys; sys.path.insert(0, sys.argv[1]);"
            "from qgcn.training.run import Training; from qgcn import cli; import main;"
            "step = Training._after_step; count = [0]\n"
            "def after(self, *values):\n"
            "    count[0] += 1\n"
            f"    if count[0] > {stop_after}: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return step(self, *values)\n"
            "Training._after_step = after\n"
            "cli.run(main.main, sys.argv[2:])"
        )
        command = [sys.executable, "-c", code, ROOT / "src", *argv]
        done = subprocess.run([str(word) for word in command], capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    place = torch.load("checkpoint/killed/model_last.pth", weights_only=True)["training"]["progress"]
    assert place["step"] == 28
    assert call("main", "--resume", "checkpoint/killed").code == 0
    assert same("checkpoint/run/model_last.pth", "checkpoint/killed/model_last.pth")
    assert same("checkpoint/run/model_epoch_2.pth", "checkpoint/killed/model_epoch_2.pth")
    assert without_clock(metrics("checkpoint/run")) == without_clock(metrics("checkpoint/killed"))
    assert not list(Path("checkpoint/killed").glob(".*.tmp"))


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
    from qgcn.training.run import Training

    after_step, steps = Training._after_step, []

    def signalled(self, *values):
        steps.append(values)
        if len(steps) == 5:
            os.kill(os.getpid(), number)
        return after_step(self, *values)

    monkeypatch.setattr(Training, "_after_step", signalled)
    done = train(call, folder_of_photos, *words, savedir="stopped")
    assert done.code == 128 + number and "--resume" in done.err
    assert torch.load("checkpoint/stopped/model_last.pth", weights_only=True)["training"]["progress"]["samples"] == 20
    monkeypatch.setattr(Training, "_after_step", after_step)
    assert call("main", "--resume", "checkpoint/stopped/model_last.pth").code == 0
    assert same("checkpoint/run/model_last.pth", "checkpoint/stopped/model_last.pth")


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_finished_run_resumed_with_more_epochs_equals_a_longer_one(call, folder_of_photos, optimizer):
    words = ["--step", 1, "--optimizer", optimizer]
    assert train(call, folder_of_photos, "--nEpochs", 2, *words).code == 0
    assert train(call, folder_of_photos, "--nEpochs", 1, *words, savedir="short").code == 0
    done = call("main", "--resume", "checkpoint/short", "--nEpochs", 2)
    assert done.code == 0 and "--nEpochs is now 2; it was 1" in done.err
    assert same("checkpoint/run/model_last.pth", "checkpoint/short/model_last.pth")


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
    assert "--nEpochs is now 2; it was 1" in done.err and "it was 1" in Path("checkpoint/new/log.txt").read_text()
    assert call("main", "--resume", "checkpoint/new", "--nEpochs", 3, "--lr", 1e-5).code == 0
    options = json.loads(Path("checkpoint/new/options.json").read_text())
    assert options["options"]["lr"] == 1e-5 and options["options"]["cuda"] is False
    assert options["earlier"] == [["src/main.py", *map(str, words), "--savedir", "new"]]


def test_two_runs_never_share_a_folder(call, folder_of_photos):
    with locked(Path("checkpoint/run"), ""):
        done = train(call, folder_of_photos, "--nEpochs", 1)
    assert (
        done.code == 2
        and "error: another run is writing into 'checkpoint/run': wait for its end, or give another --savedir"
        in done.err
    )
    assert list(Path("checkpoint/run").iterdir()) == []
    assert train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4).code == 0


def test_too_little_memory_is_told_with_what_saves_some(call, folder_of_photos, monkeypatch):
    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(qmar.Net, "forward", short)
    done = train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4)
    assert done.code == 2 and "error: the memory is full at step 1: --accumulate 4" in done.err
    assert "Traceback" not in done.err


def test_a_scheduler_s_choice_of_gpus_is_kept(tmp_path, monkeypatch):
    program = tmp_path / "show.py"
    program.write_text(  # a file for each process: on a shared output their lines could mix
        "import os, sys; from pathlib import Path\n"
        "Path(sys.argv[1], os.environ['LOCAL_RANK']).write_text(os.environ['CUDA_VISIBLE_DEVICES'])"
    )

    def seen() -> list[str]:
        assert distributed.launch(str(program), [str(tmp_path)], cuda=True, gpus=[0, 2]) == 0
        return [(tmp_path / rank).read_text() for rank in ("0", "1")]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert seen() == ["0,2", "0,2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,5,7")
    assert seen() == ["GPU-a,7", "GPU-a,7"]


def test_pretrained_weights_are_the_start(call, folder_of_photos, make_checkpoint):
    path = make_checkpoint("qmar", n_feats=8, n_resblocks=1)
    words = ["--nEpochs", 1, "--samples_per_epoch", 4, "--lr", 1e-12]
    assert train(call, folder_of_photos, *words, "--pretrained", path).code == 0
    start, end = checkpoints.load(path)["model"], checkpoints.load("checkpoint/run/model_last.pth")["model"]
    assert all(torch.allclose(start[key], end[key], atol=1e-6) for key in start)
    other = make_checkpoint("qmar", n_feats=16)
    words = "takes the options of its network: --net qmar --n_feats 16 --n_resblocks 2 --res_scale 0.1"
    refused(train(call, folder_of_photos, "--pretrained", other, savedir="other"), "--pretrained", words)
    gray = make_checkpoint("qmar", 1, n_feats=8, n_resblocks=1)
    refused(train(call, folder_of_photos, "--pretrained", gray, savedir="other"), "--n_feats 8", "--colorMode L")
    refused(train(call, folder_of_photos, "--pretrained", "none.pth", savedir="other"), "none.pth", "does not exist")


def test_a_qcn_plus_may_start_from_a_qcn(call, folder_of_photos, make_checkpoint):
    path = make_checkpoint("qmar", n_feats=8, n_resblocks=1)
    words = ["--nEpochs", 1, "--samples_per_epoch", 4, "--lr", 1e-12]
    assert train(call, folder_of_photos, *words, "--pretrained", path, net="qmar_plus").code == 0
    before, after = checkpoints.load(path), checkpoints.load("checkpoint/run/model_last.pth")
    assert (after["net"], after["arguments"]["in_channel"]) == ("qmar_plus", 10)
    x = torch.rand(1, 10, 32, 32) * 2 - 1
    x[:, -1] = 1
    first, second = (checkpoints.build_network(content) for content in (before, after))
    assert torch.allclose(first(x[:, :5]), second(x), atol=1e-5)
    plus = "checkpoint/run/model_last.pth"
    refused(train(call, folder_of_photos, "--pretrained", plus, savedir="b"), "--net qmar_plus")
    other = make_checkpoint("qmar", n_feats=16)
    refused(train(call, folder_of_photos, "--pretrained", other, net="qmar_plus", savedir="b"), "--n_feats 16")
    edsr = make_checkpoint("edsr", n_feats=8, n_resblocks=1)
    refused(train(call, folder_of_photos, "--pretrained", edsr, net="qmar_plus", savedir="b"), "--net edsr")


def test_a_checkpoint_says_what_it_has_learnt_from(call, folder_of_photos, make_checkpoint):
    words = ["--nEpochs", 1, "--samples_per_epoch", 4]
    assert train(call, folder_of_photos, *words, "--degradation", "real").code == 0
    assert checkpoints.degradation(checkpoints.load("checkpoint/run/model_last.pth")) == "real"
    assert call("main", "--resume", "checkpoint/run", "--nEpochs", 2).code == 0
    assert checkpoints.degradation(checkpoints.load("checkpoint/run/model_last.pth")) == "real"
    assert train(call, folder_of_photos, *words, savedir="b").code == 0
    for path in ("checkpoint/b/model_last.pth", make_checkpoint("qmar")):  # the latter does not say
        assert checkpoints.degradation(checkpoints.load(path)) == "published"
    refused(train(call, folder_of_photos, "--degradation", "fake", savedir="c"), "'fake'", "published, real")
    refused(train(call, folder_of_photos, "--valid_degradation", "fake", savedir="c"), "'fake'", "--valid_degradation")


def test_gray_of_files_is_trained_on_in_both_ranges_and_validated_by_family(call, folder_of_photos):
    words = ["--degradation", "real", "--valid_degradation", "real", "--holdout", 2, "--init", "identity"]
    done = train(
        call, folder_of_photos, *words, "--colorMode", "L", "--lr", 1e-12, "--nEpochs", 1, "--samples_per_epoch", 8
    )
    assert done.code == 0 and "gain in PSNR on tables of each family: standard +0.000" in done.err
    (row,) = [row for row in metrics("checkpoint/run") if row["psnr"]]
    gains = [float(row[f"gain_{family}"]) for family in ("standard", "files", "between", "random")]
    assert np.abs(gains).max() < 0.01  # the identity


def test_a_gray_network_may_start_from_a_colour_one(call, folder_of_photos, make_checkpoint):
    colour = make_checkpoint("qmarg", n_feats=8, n_resblocks=1)
    state = checkpoints.load(colour)["model"]
    words = ["--pretrained", colour, "--colorMode", "L", "--samples_per_epoch", 4, "--nEpochs", 1, "--lr", 1e-12]
    done = train(call, folder_of_photos, *words, "--global_feats", 4, "--global_hidden", 8, net="qmarg")
    assert done.code == 0, done.err
    found = checkpoints.load("checkpoint/run/model_last.pth")["model"]
    assert found["conv_output.weight"].shape[0] == 1
    torch.testing.assert_close(found["conv_output.weight"][0], state["conv_output.weight"].mean(0))
    torch.testing.assert_close(found["residual2.0.conv1.weight"], state["residual2.0.conv1.weight"])
    other = make_checkpoint("edsr", n_feats=8, n_resblocks=1)
    refused(
        train(call, folder_of_photos, "--pretrained", other, "--colorMode", "L", savedir="b"), "--pretrained", "edsr"
    )


def test_averaged_weights_are_an_exponential_mean(call, folder_of_photos):
    done = train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 8, "--ema", 0.5, "--save_minutes", 1e-9)
    assert done.code == 0
    content = torch.load("checkpoint/run/model_last.pth", weights_only=True)
    assert content["training"]["averaged"] == 2  # the first step's weights, then the mean with the second's
    assert any(not torch.equal(value, content["training"]["weights"][key]) for key, value in content["model"].items())


def test_minutes_end_a_run_and_fit_its_schedule(call, folder_of_photos):
    started = time.monotonic()
    words = ["--minutes", 0.05, "--schedule", "cosine", "--samples_per_epoch", 100_000, "--log_every", 1, "--lr", 1e-3]
    done = train(call, folder_of_photos, *words)
    assert done.code == 0, done.err
    assert 3 <= time.monotonic() - started < 30
    table = metrics("checkpoint/run")
    for row in table:
        if row["loss"]:
            position = min(1, float(row["seconds"]) / 3)
            assert float(row["lr"]) == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * position)), abs=1e-4)
    assert float(table[-1]["lr"]) < 1e-4
    progress = checkpoints.load("checkpoint/run/model_last.pth")["training"]["progress"]
    assert int(table[-1]["samples"]) == 4 * progress["step"] == progress["samples"] < 100_000  # of the first epoch
    assert call("main", "--resume", "checkpoint/run").code == 0  # nothing left to do
    # with twice the time it goes on half-way through its schedule
    assert call("main", "--resume", "checkpoint/run", "--minutes", 0.1).code == 0
    more = [row for row in metrics("checkpoint/run")[len(table) :] if row["loss"]]
    assert float(more[0]["lr"]) == pytest.approx(0.5e-3, rel=0.1)
    assert 5.9 <= float(more[-1]["seconds"]) < 10 and float(more[-1]["lr"]) < 1e-4


def test_holdout_images_are_validated_on_and_not_trained_on(call, folder_of_photos):
    done = train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4, "--holdout", 2)
    assert done.code == 0 and "3 images" in done.err  # 0..3 and 4..5 in two folders: 1, 3 and 5 are held out
    assert (Path("checkpoint/run") / "model_best.pth").exists()


def test_images_that_can_not_be_used_are_named_and_counted(call, folder_of_photos):
    (folder_of_photos / "broken.png").write_bytes((folder_of_photos / "1.png").read_bytes()[:200])
    (folder_of_photos / "text.jpg").write_text("no image")
    Image.new("RGB", (31, 64)).save(folder_of_photos / "small.bmp")
    for number in range(6):
        Image.new("RGB", (31, 64)).save(folder_of_photos / f"narrow{number}.bmp")
    done = train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4)
    assert done.code == 1 and Path("checkpoint/run/model_last.pth").exists()
    for words in ("broken.png", "text.jpg", "left out 2 of 15 images that can't be read", "left out 7 images smaller"):
        assert done.err.count(words) == 1, words
    assert "small.bmp" in done.err and "6 images" in done.err
    written = Path("checkpoint/run/log.txt").read_text()
    for words in ("broken.png", "text.jpg", "small.bmp", "narrow5.bmp", "exit code 1: 9 images"):
        assert written.count(words) == 1, words


def test_images_to_validate_on_that_can_not_be_read_are_left_out(call, folder_of_photos):
    for name in ("1.png", "3.png"):  # of the three that --holdout 2 keeps out
        (folder_of_photos / name).write_bytes((folder_of_photos / name).read_bytes()[:200])
    done = train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 4, "--holdout", 2)
    assert done.code == 1 and done.err.count("1.png") == done.err.count("3.png") == 1, done.err
    assert "left out 2 of 3 images" in done.err and "exit code 1: 2 images" in done.err
    assert [row["epoch"] for row in metrics("checkpoint/run") if row["psnr"]] == ["1.0"]
    (folder_of_photos / "nested" / "5.png").write_text("no image")
    done = train(call, folder_of_photos, "--nEpochs", 1, "--holdout", 2, savedir="none")
    assert done.code == 2 and "none of the 3 images to validate on can be read" in done.err


def test_validation_that_fails_loses_no_epoch(call, folder_of_photos, monkeypatch):
    from qgcn.evaluating import evaluate as evaluation

    words = ["--nEpochs", 1, "--samples_per_epoch", 8, "--holdout", 2]
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(call, folder_of_photos, *words)
    assert checkpoints.load("checkpoint/run/model_last.pth")["training"]["progress"]["epoch"] == 1


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


def test_averaging_begun_at_a_resume_starts_from_the_weights(call, folder_of_photos):
    assert train(call, folder_of_photos, "--nEpochs", 1, "--samples_per_epoch", 8, "--lr", 1e-2).code == 0
    last = Path("checkpoint/run/model_last.pth")
    content = checkpoints.load(last)
    content["training"]["progress"] |= {"epoch": 0, "samples": 8}  # as a signal at the last step leaves it
    checkpoints.save(last, content)
    assert call("main", "--resume", "checkpoint/run", "--ema", 0.9).code == 0
    averaged = checkpoints.load(last)["model"]
    assert all(torch.equal(averaged[name], weight) for name, weight in content["model"].items())


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(call, folder_of_photos):
    done = train(call, folder_of_photos, "--nEpochs", 1, "--lr", 1e17, "--loss", "L2")
    assert done.code == 2 and re.search(r"the loss became (inf|nan) at step \d+: lower --lr", done.err)
    assert "Traceback" not in done.err


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


def test_an_epoch_that_ended_on_a_full_disk_is_logged_once(call, folder_of_photos, monkeypatch):
    words = ["--nEpochs", 2, "--samples_per_epoch", 8, "--save_minutes", 1e-9, "--log_every", 1]
    words += ["--validation", "--imgValidRoot", folder_of_photos]
    assert train(call, folder_of_photos, *words).code == 0
    save = checkpoints.save

    def full(path, content):
        if path.name == "model_epoch_1.pth":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, content)

    monkeypatch.setattr(checkpoints, "save", full)
    assert train(call, folder_of_photos, *words, savedir="full").code == 2
    monkeypatch.setattr(checkpoints, "save", save)
    assert call("main", "--resume", "checkpoint/full").code == 0
    assert without_clock(metrics("checkpoint/run")) == without_clock(metrics("checkpoint/full"))
    assert same("checkpoint/run/model_last.pth", "checkpoint/full/model_last.pth")


@pytest.mark.parametrize("net", ["qmar", "qmarg"])
def test_batches_in_parts_learn_the_same(call, folder_of_photos, net):
    words = ["--nEpochs", 1, "--samples_per_epoch", 14, "--batchSize", 6, "--n_resblocks", 5, "--lr", 1e-3]
    runs = {"whole": [], "parts": ["--accumulate", 4]}
    for name, more in runs.items():
        assert train(call, folder_of_photos, *words, *more, net=net, savedir=name).code == 0
    whole, parts = (weights(Path(f"checkpoint/{name}/model_last.pth")) for name in runs)
    # sums in another order, which Adam's normalised steps enlarge where gradients are near zero
    assert all(torch.allclose(value, parts[key], atol=5e-4) for key, value in whole.items())
    assert any(not torch.equal(value, parts[key]) for key, value in whole.items())


def carriers(run):
    """What conv_input's three carriers of the pixels have become, and its other features."""
    weight = checkpoints.load(f"checkpoint/{run}/model_last.pth")["model"]["conv_input.weight"]
    return weight[:3], weight[3:]


HELD = ["--n_feats", 28, "--global_feats", 2, "--global_hidden", 4, "--init", "identity"]


def test_held_carriers_stay_in_training(call, folder_of_photos):
    words = [*HELD, "--n_resblocks", 2, "--lr", 1e-2, "--samples_per_epoch", 8, "--nEpochs", 1]
    assert train(call, folder_of_photos, *words, net="qmarg").code == 0
    held, free = carriers("run")
    assert torch.equal(held.nonzero(), torch.tensor([[i, i, 1, 1] for i in range(3)])) and held.sum() == 3
    assert call("main", "--resume", "checkpoint/run", "--nEpochs", 2).code == 0
    assert torch.equal(carriers("run")[0], held) and not torch.equal(carriers("run")[1], free)


def test_bf16_and_nchw_train(call, folder_of_photos):
    words = ["--nEpochs", 1, "--samples_per_epoch", 8, "--precision", "bf16", "--no_channels_last"]
    done = train(call, folder_of_photos, *words)
    assert done.code == 0, done.err
    assert checkpoints.load("checkpoint/run/model_last.pth")["model"]["conv_mid.weight"].dtype == torch.float32


@pytest.mark.slow
def test_a_compiled_network_learns_the_same(call, folder_of_photos):
    words = ["--nEpochs", 1, "--samples_per_epoch", 8]
    assert train(call, folder_of_photos, *words).code == 0
    assert train(call, folder_of_photos, *words, "--compile", savedir="compiled").code == 0
    plain, compiled = weights("checkpoint/run/model_last.pth"), weights("checkpoint/compiled/model_last.pth")
    assert plain.keys() == compiled.keys()
    assert all(torch.allclose(plain[key], compiled[key], atol=1e-5) for key in plain)


@pytest.mark.parametrize(
    ("start", "more"),
    [("torchrun", []), ("--gpus", ["--net", "qmarg", *HELD, "--optimizer", "muon"])],
    ids=["torchrun", "--gpus"],
)
def test_two_processes_learn_what_one_does(call, folder_of_photos, start, more):
    # 37 samples in steps of 4: the last step has one sample, so that one process has none.
    words = ["--nEpochs", 2, "--samples_per_epoch", 37, "--log_every", 1, "--lr", 1e-3, "--accumulate", 2]
    words += [*more, "--validation", "--imgValidRoot", folder_of_photos]
    assert train(call, folder_of_photos, *words).code == 0
    common = ["--imgGTRoot", folder_of_photos, "--savedir", "two", *TINY, *words]
    if start == "--gpus":
        done = shell("main.py", *common, "--gpus", "[0,1]")
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command += [str(word) for word in [ROOT / "src" / "main.py", *common]]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = metrics("checkpoint/run"), metrics("checkpoint/two")
    assert [row["step"] for row in one] == [row["step"] for row in two] and len(one) == 22
    for a, b in zip(one, two, strict=True):
        for key in ("lr", "loss", "input_psnr", "psnr", "ssim", "psnr_b"):
            assert bool(a[key]) == bool(b[key])
            if a[key]:
                assert float(a[key]) == pytest.approx(float(b[key]), rel=1e-4), (a["step"], key)
    assert done.stderr.count("finished after 20 steps") == 1
    if "identity" in more:
        assert torch.equal(carriers("run")[0], carriers("two")[0]) and carriers("two")[0].count_nonzero() == 3


def test_several_processes_tell_a_mistake_once(folder_of_photos):
    done = shell("main.py", "--gpus", "[0,1]", "--imgGTRoot", "nowhere")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(
        "error: the folder of training images 'nowhere' does not exist: name one with --imgGT"
    )
    # what the first process alone meets, while the other waits for it
    words = ["--imgGTRoot", folder_of_photos, *TINY, "--size", 512]
    done = shell("main.py", "--gpus", "[0,1]", *words)
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].endswith("holds a crop of 512 x 512 pixels")
    assert "Traceback" not in done.stderr and done.stderr.count("error: ") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_several_processes_stop_together_on_a_signal(folder_of_photos, number):
    command = [sys.executable, ROOT / "src" / "main.py", "--imgGTRoot", folder_of_photos, "--gpus", "[0,1]", *TINY]
    command += ["--nEpochs", 10000, "--savedir", "run"]
    process = subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not Path("checkpoint/run/model_epoch_1.pth").exists():
        assert process.poll() is None
        time.sleep(0.05)
    if number == signal.SIGTERM:
        process.send_signal(number)
    else:  # a terminal sends it to all processes at once, and the first passes it on to the others too
        os.killpg(process.pid, number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 128 + number and f"stopped by signal {number}" in messages
    step = int(re.search(r"at step (\d+)", messages).group(1))
    assert torch.load("checkpoint/run/model_last.pth", weights_only=True)["training"]["progress"]["step"] == step
