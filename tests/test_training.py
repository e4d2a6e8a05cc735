"""Training runs as users start them: what they leave behind, and what they say."""

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
from runs import TINY, at_forward, train, weights

from qgcn import checkpoints
from qgcn.utils import distributed
from qgcn.utils.files import locked


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
    def short():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    at_forward(monkeypatch, 1, short)
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


def test_a_run_says_where_it_is_computed_and_shows_no_bar_of_nothing(call, folder_of_photos):
    words = ["--nEpochs", 1, "--samples_per_epoch", 4, "--precision", "bf16"]
    done = train(call, folder_of_photos, *words)
    assert done.code == 0 and "device: cpu, bf16\n" in done.err
    assert "device: cpu, bf16\n" in Path("checkpoint/run/log.txt").read_text()
    assert "0it" not in done.err  # there is nothing to validate on


def test_a_network_that_does_not_run_is_told_before_anything_is_written(call, folder_of_photos, monkeypatch):
    def broken():
        raise RuntimeError("shapes differ")

    at_forward(monkeypatch, 1, broken, training=False)
    refused(train(call, folder_of_photos), "--net qmar does not run on its input", "shapes differ")
    assert not Path("checkpoint").exists() and not Path("store").exists()


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


def test_a_loss_that_is_not_finite_stops_the_run_with_its_step(call, folder_of_photos):
    done = train(call, folder_of_photos, "--nEpochs", 1, "--lr", 1e17, "--loss", "L2")
    assert done.code == 2 and re.search(r"the loss became (inf|nan) at step \d+: lower --lr", done.err)
    assert done.err.splitlines()[-1] in Path("checkpoint/run/log.txt").read_text()
    assert "Traceback" not in done.err


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
    last = ["--pretrained", "checkpoint/run/model_last.pth"]
    assert train(call, folder_of_photos, *words, *last, net="qmarg", savedir="on").code == 0
    assert torch.equal(carriers("on")[0], held)
    run = Path("checkpoint/on/model_last.pth")  # as --hold_identity, once an option, left a run beside --pretrained
    content = checkpoints.load(run)
    content["opt"] |= {"init": "published", "hold_identity": True}
    checkpoints.save(run, content)
    done = call("main", "--resume", "checkpoint/on", "--nEpochs", 2)
    assert done.code == 0 and "has gone" not in done.err and torch.equal(carriers("on")[0], held)
    plain = [word for word in words if word not in ("--init", "identity")]
    assert train(call, folder_of_photos, *plain, net="qmarg", savedir="plain").code == 0
    done = train(
        call, folder_of_photos, *words, "--pretrained", "checkpoint/plain/model_last.pth", net="qmarg", savedir="x"
    )
    refused(done, "--init identity holds what it sets", "checkpoint/plain/model_last.pth")


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
    assert done.returncode == 2 and "holds a crop of 512 x 512 pixels" in done.stderr.strip().splitlines()[-1]
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
