"""What the tests share: real photographs in small, tiny networks, programs as a user calls them."""

import csv
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qgcn import checkpoints, nets
from qgcn import cli as program
from qgcn.backends.packages import NO_REPORTS
from qgcn.dataset.inputs import get_input

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
"""Research copies of the test sets on the developers' machines; no test fails for their absence."""

# One thread for each test process and the programs that it starts: tiny networks gain nothing from more, and the same
# number everywhere makes runs in different processes equal to the bit.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.update(NO_REPORTS)
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, so that results/ and checkpoint/ never meet."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """scikit-image's astronaut, 512 x 512 x 3 uint8."""
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture
def folder_of_photos(tmp_path, photo) -> Path:
    """A folder with six 96 x 128 PNG crops of a photograph, two of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "nested").mkdir(parents=True)
    for i in range(6):
        place = folder / "nested" if i > 3 else folder
        Image.fromarray(photo[64 * i : 64 * i + 96, 100 : 100 + 128]).save(place / f"{i}.png")
    return folder


def network_arguments(name: str, channels: int = 3, **changes) -> dict:
    """Constructor arguments of a tiny network of a kind."""
    if name.startswith("arcnn"):
        return {"channels": channels}
    arguments = {
        "in_channel": channels + get_input(nets.kind(name).input).planes[channels],
        "out_channel": channels,
        "n_feats": 24,
        "n_resblocks": 2,
        "res_scale": 0.1,
    }
    if name == "qmarg":
        arguments |= {"in_glo_channel": channels, "global_feats": 4, "global_hidden": 8}
    return arguments | changes


@pytest.fixture
def make_checkpoint(tmp_path) -> Callable[..., Path]:
    """Writes a checkpoint of a tiny network (a random one, or the identity) and returns its path."""

    def make(name: str, channels: int = 3, *, identity: bool = False, **changes) -> Path:
        torch.manual_seed(0)
        arguments = network_arguments(name, channels, **changes)
        network = nets.build(name, arguments)
        if identity:
            network.initialise_identity()
        path = tmp_path / f"{name}_{channels}{'_identity' if identity else ''}.pth"
        checkpoints.save(path, checkpoints.describe(network, name, arguments, {"net": name}, 1))
        return path

    return make


@pytest.fixture
def call(capfd) -> Callable[..., Namespace]:
    """Calls a program's ``main`` in this process as the shell would: exit code, standard output and error."""

    def call_program(module: str, *argv: object) -> Namespace:
        capfd.readouterr()
        main = __import__(module).main
        try:
            code = program.run(main, [str(word) for word in argv])
        except SystemExit as error:
            code = error.code
        out, err = capfd.readouterr()
        return Namespace(code=code, out=out, err=err)

    return call_program


def shell(script: str, *argv: object, **keywords) -> subprocess.CompletedProcess:
    """Runs ``python src/<script>`` in a process of its own, with text output captured; env's None unsets a name."""
    environment = {**os.environ, **keywords.pop("env", {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    command = [sys.executable, str(ROOT / "src" / script), *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **keywords)


def many(function: Callable, count: int = 300) -> list:
    """What a function makes of numpy's random generators of different seeds."""
    return [function(np.random.default_rng(seed)) for seed in range(count)]


def refused(outcome, *words: str) -> None:
    """Asserts one clear sentence on standard error that contains ``words``, exit code 2 and no traceback."""
    assert outcome.code == 2, outcome
    lines = [line for line in outcome.err.strip().splitlines() if line]
    assert len(lines) == 1 and "Traceback" not in outcome.err, outcome.err
    for word in words:
        assert word in lines[0], (word, lines[0])


def metrics(folder: str | Path) -> list[dict[str, str]]:
    """The rows of a training run's metrics.csv."""
    with open(Path(folder) / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def shared_data() -> Path:
    """The developers' research copies, or a visible skip."""
    if not SHARED.is_dir():
        pytest.skip("the research copies of the test sets are not on this machine")
    return SHARED
