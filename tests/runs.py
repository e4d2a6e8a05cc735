"""Training runs as tests start and compare them."""

import itertools
import subprocess
import sys
from pathlib import Path

import torch
from conftest import ROOT, network_arguments

from qgcn import nets
from qgcn.nets import qmar
from qgcn.training.optimizer import build_optimizer
from qgcn.training.state import State

TINY = ["--n_feats", 8, "--n_resblocks", 1, "--size", 32, "--batchSize", 4, "--threads", 0, "--store", "store"]


def train(call, folder, *words, net="qmar", savedir="run"):
    return call("main", "--imgGTRoot", folder, "--net", net, "--savedir", savedir, *TINY, *words)


def new_state(seed: int, ema: float = 0.0) -> State:
    """The state of a tiny QCN that has learnt nothing yet."""
    torch.manual_seed(seed)
    arguments = network_arguments("qmar", n_feats=8)
    network = nets.build("qmar", arguments)
    return State(network, "qmar", arguments, build_optimizer("muon", network, 1e-3), ema=ema, options={"lr": 1e-3})


def weights(path):
    content = torch.load(path, weights_only=True)
    return {**content["model"], **{f"raw.{key}": value for key, value in content["training"]["weights"].items()}}


def progress(path):
    return torch.load(path, weights_only=True)["training"]["progress"]


def same(first, second):
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def without_clock(table):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in table]


def at_forward(monkeypatch, number, action, *, training=True):
    """Call ``action`` in a QCN's forward pass number ``number``, from 1, of training steps or of all others."""
    forward, numbers = qmar.Net.forward, itertools.count(1)

    def acting(self, inputs):
        if torch.is_grad_enabled() == training and next(numbers) == number:
            action()
        return forward(self, inputs)

    monkeypatch.setattr(qmar.Net, "forward", acting)


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[1:3]
import main, pytest, runs
from qgcn import cli
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
runs.at_forward(pytest.MonkeyPatch(), int(sys.argv[3]), kill, training=sys.argv[4] == "training")
cli.run(main.main, sys.argv[5:])
"""


def killed(*argv, at, training=True):
    """Run main.py and kill it in a QCN's forward pass number ``at``, as `at_forward` counts them."""
    command = [sys.executable, "-c", KILLED, ROOT / "src", Path(__file__).parent, at]
    command += ["training" if training else "validation", *argv]
    done = subprocess.run([str(word) for word in command], capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
