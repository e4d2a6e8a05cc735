"""What pip and torch.hub make of the repository."""

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image

from qgcn import checkpoints
from qgcn.restoring.model import ENDINGS, SHIPPED
from qgcn.restoring.restorer import Restorer

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def required(path):
    """The requirements of a requirements file itself."""
    lines = (ROOT / path).read_text().splitlines()
    return {line for line in lines if line and line[0] not in "#-"}


def python(*words, code=0, **keywords):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=300, check=False, **keywords
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_requirements_and_package_agree():
    assert required("requirements.txt") == set(PROJECT["project"]["dependencies"])
    named = {entry for extra in ("openvino", "paper", "test") for entry in EXTRAS[extra]}
    assert required("tests/requirements.txt") == {entry for entry in named if not entry.startswith("qgcn[")}


def test_every_shipped_checkpoint_is_in_the_wheel():
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    names = {f"checkpoint/{name}{ending}" for name in SHIPPED.values() for ending in ENDINGS.values()}
    shipped = {name for name in names if (ROOT / name).is_file()}
    assert {path: f"qgcn/{path}" for path in shipped | {"params.py"}} == included


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The project's wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    python(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", folder, ROOT,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"qgcn", "qgcn-1.0.0.dist-info"}
    assert {"qgcn/params.py", "qgcn/jpeg/tables_in_files.json", "qgcn/paper/published/table1_color.csv"} <= set(names)
    assert wheel.stat().st_size < 15e6


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of an environment that holds the wheel, a foreign package `utils`, and this one's third parties."""
    folder = tmp_path_factory.mktemp("environment")
    python(sys.executable, "-m", "venv", "--without-pip", folder)
    own = folder / "bin" / "python"
    packages = Path(python(own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "third_parties.pth").write_text(sysconfig.get_path("purelib"))
    (packages / "utils").mkdir()
    (packages / "utils" / "__init__.py").write_text("FOREIGN = True\n")
    python(sys.executable, "-m", "pip", "--python", own, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return own


def test_an_installed_package_restores_a_picture_beside_a_foreign_utils(installed, photo, tmp_path):
    Image.fromarray(photo[:96, :120]).save("photo.jpg", quality=10)
    code = (
        "import utils, qgcn; from qgcn import Restorer; assert utils.FOREIGN\n"
        "print(qgcn.__file__); Restorer().restore('photo.jpg').save('library.png')"
    )
    place = python(installed, "-c", code, cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(installed.parent.parent)
    out = python(installed.with_name("qgcn-restore"), "photo.jpg", "-o", "command.png", cwd=tmp_path)
    assert re.match("restored 1 of 1 files", out)
    expected = np.asarray(Restorer().restore("photo.jpg"))
    for name in ("library.png", "command.png"):
        assert np.array_equal(np.asarray(Image.open(name)), expected), name


def test_the_command_has_the_options_of_the_program(installed, tmp_path):
    own = python(installed.with_name("qgcn-restore"), "--help", cwd=tmp_path)
    program = python(sys.executable, ROOT / "src" / "restore.py", "--help", cwd=tmp_path)
    options = re.compile(r"--\w+")
    assert own.startswith("usage: qgcn-restore") and options.findall(own) == options.findall(program)


@pytest.mark.parametrize("name", ["qcn", "qgcn", "qcn_plus", "edsr", "arcnn"])
def test_torch_hub_gives_a_network_with_its_weights(name):
    network = torch.hub.load(str(ROOT), name, source="local", mode="RGB")
    weights = checkpoints.load(ROOT / "checkpoint" / f"{name}_rgb.pth")["model"]
    state = network.state_dict()
    assert not network.training and state.keys() == weights.keys()
    assert all(torch.equal(state[key], weight) for key, weight in weights.items())


def test_torch_hub_needs_no_search_path_and_leaves_none(tmp_path):
    code = (
        "import sys, torch\n"
        f"network = torch.hub.load({str(ROOT)!r}, 'qcn', source='local', mode='L')\n"
        "print(network.conv_output.out_channels, any('src' in path for path in sys.path))"
    )
    assert python(sys.executable, "-c", code, cwd=tmp_path) == "1 False\n"


def test_torch_hub_tells_what_is_not_there():
    with pytest.raises(ValueError, match="no edsr is shipped for mode 'L'"):
        torch.hub.load(str(ROOT), "edsr", source="local", mode="L")
    with pytest.raises(ValueError, match="'YCbCr' is unknown: choose from RGB, L"):
        torch.hub.load(str(ROOT), "qcn", source="local", mode="YCbCr")
