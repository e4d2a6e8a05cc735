"""The GPU's paths against the CPU's; they skip where there is no GPU."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import metrics
from PIL import Image

from qgcn import checkpoints

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")

RECIPE = [
    "--net", "qmarg", "--n_feats", 32, "--n_resblocks", 2, "--global_feats", 4, "--global_hidden", 8, "--size", 32,
    "--batchSize", 8, "--store", "store", "--optimizer", "muon", "--warmup", 4, "--init", "identity",
    "--ema", 0.9, "--samples_per_epoch", 64, "--log_every", 1, "--holdout", 3,
]  # fmt: skip


def train(call, folder, *words, savedir):
    done = call("main", "--imgGTRoot", folder, "--savedir", savedir, *RECIPE, *words)
    assert done.code == 0, done.err
    return Path("checkpoint", savedir)


def figures(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in metrics(folder) if row[name]]


@pytest.mark.parametrize("net", ["qmar", "qmarg", "edsr", "arcnn"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_restores_as_the_cpu(call, photo, make_checkpoint, net, precision):
    Image.fromarray(photo[:200, :300]).save("photo.jpg", quality=20)
    path = make_checkpoint(net, identity=net != "arcnn")
    for name, words in {"cpu": [], "gpu": ["--cuda", "--precision", precision, "--memory", "20M"]}.items():
        done = call("restore", "photo.jpg", "--model", path, "-o", f"{name}.png", *words)
        assert done.code == 0, done.err
    on_cpu, on_gpu = (np.asarray(Image.open(f"{name}.png"), np.int16) for name in ("cpu", "gpu"))
    difference = np.abs(on_cpu - on_gpu)
    assert difference.max() <= (1 if precision == "fp32" else 4) and difference.mean() < 0.6


def test_a_gpu_learns_as_the_cpu(call, folder_of_photos):
    on_cpu = train(call, folder_of_photos, "--nEpochs", 2, savedir="cpu")
    on_gpu = train(call, folder_of_photos, "--nEpochs", 2, "--cuda", "--threads", 2, savedir="gpu")
    assert len(figures(on_gpu, "loss")) == 16
    assert np.allclose(figures(on_gpu, "loss"), figures(on_cpu, "loss"), rtol=0.02)
    assert np.allclose(figures(on_gpu, "psnr"), figures(on_cpu, "psnr"), atol=0.05)


@pytest.mark.parametrize("words", [["--precision", "bf16"], ["--compile"], ["--accumulate", 2]], ids=lambda w: w[0][2:])
def test_other_ways_to_learn_on_a_gpu(call, folder_of_photos, words):
    plain = train(call, folder_of_photos, "--nEpochs", 2, "--cuda", savedir="plain")
    other = train(call, folder_of_photos, "--nEpochs", 2, "--cuda", *words, savedir="other")
    assert np.allclose(figures(other, "loss"), figures(plain, "loss"), rtol=0.03)


def test_a_run_moves_between_gpu_and_cpu(call, folder_of_photos):
    whole = train(call, folder_of_photos, "--nEpochs", 3, "--cuda", savedir="whole")
    train(call, folder_of_photos, "--nEpochs", 1, "--cuda", savedir="run")
    for epochs, words in ((2, ["--cuda"]), (3, [])):
        done = call("main", "--resume", "checkpoint/run", "--nEpochs", epochs, *words)
        assert done.code == 0, done.err
        assert ("the run goes on on the CPU" in done.err) == (not words)
        assert ("device: cpu" in done.err) == (not words)
    assert np.allclose(figures(Path("checkpoint/run"), "loss"), figures(whole, "loss"), rtol=0.02)
    content = checkpoints.load("checkpoint/run/model_last.pth")
    assert {value.device.type for value in content["model"].values()} == {"cpu"}
