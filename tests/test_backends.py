"""OpenVINO restores what PyTorch restores."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import network_arguments, refused, shell

from qgcn import checkpoints, nets
from qgcn.backends.packages import NO_REPORTS
from qgcn.evaluating.metrics import psnr
from qgcn.jpeg.codec import PillowCodec
from qgcn.restoring.model import load_model
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.tiles import restore_image, to_bytes
from qgcn.utils.errors import UserError

CPU = torch.device("cpu")
TOLERANCE = 1e-4 * 255
"""1e-4 of the range 0..1, in the levels that restored images have."""


def need_openvino(*, int8=False):
    """A visible skip where an optional package is missing."""
    for package in ("onnx", "openvino", *(["nncf"] if int8 else [])):
        pytest.importorskip(package)


@pytest.fixture
def trained(tmp_path, photo):
    """Makes a checkpoint of a small network that is somewhere near a trained one: the identity, disturbed."""

    def make(name, channels=3):
        torch.manual_seed(1)
        arguments = network_arguments(name, channels, n_feats=32)
        network = nets.build(name, arguments)
        network.initialise_identity()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.002 * torch.randn_like(parameter)
        path = tmp_path / f"trained_{name}_{channels}.pth"
        checkpoints.save(path, checkpoints.describe(network, name, arguments, {"net": name}, 1))
        return path

    return make


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", list(nets.NETWORKS))
def test_openvino_equals_torch_for_any_size(photo, make_checkpoint, name, channels):
    need_openvino()
    path = make_checkpoint(name, channels)
    torchs, others = load_model(path, CPU), load_model(path, CPU, backend="openvino")
    assert others.channels == channels and others.title == torchs.title and "openvino" in others.source
    for height, width in ((8, 8), (21, 34), (64, 40), (131, 205)):
        compressed = PillowCodec().compress(photo[:height, :width, :channels], 10)
        expected = torchs.restore(compressed)
        assert np.abs(others.restore(compressed) - expected).max() < TOLERANCE
        assert expected.std() > 0.1 or name.startswith("arcnn") or height == 8


def test_batches_and_raw_outputs_equal_torch(make_checkpoint):
    need_openvino()
    path = make_checkpoint("qmarg")
    inputs = (torch.rand(3, 5, 24, 16) * 2 - 1, torch.rand(3, 3, 112, 112) * 2 - 1)
    with torch.inference_mode():
        expected = checkpoints.build_network(checkpoints.load(path))(inputs)
    found = load_model(path, CPU, backend="openvino").network(inputs)
    assert found.shape == expected.shape and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(("name", "int8"), [("qmar", False), ("qmar", True), ("qmarg", False)])
def test_tiles_equal_the_whole_image(photo, trained, name, int8):
    need_openvino(int8=int8)
    model = load_model(trained(name), CPU, backend="openvino", int8=int8)
    compressed = PillowCodec().compress(photo[:131, :205], 10)
    loader = model.input
    whole = restore_image(model.network, loader, compressed, device=CPU, tile=512)
    tiled = restore_image(model.network, loader, compressed, device=CPU, tile=48)
    assert np.abs(tiled - whole).max() < (0.05 if int8 else TOLERANCE)


@pytest.mark.parametrize(("name", "channels"), [("qmar", 3), ("qmar", 1), ("edsr", 3), ("qmar_plus", 3)])
def test_int8_stays_near_float(photo, trained, name, channels):
    need_openvino(int8=True)
    path = trained(name, channels)
    compressed = PillowCodec().compress(photo[:160, :160, :channels], 30)
    expected = to_bytes(load_model(path, CPU).restore(compressed))
    exact = to_bytes(load_model(path, CPU, backend="openvino").restore(compressed))
    found = to_bytes(load_model(path, CPU, backend="openvino", int8=True).restore(compressed))
    assert psnr(exact, expected) > 65
    assert 45 < psnr(found, expected) < 99  # it is near, and it is not float


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bf16_stays_near_float(photo, trained, backend):
    if backend != "torch":
        need_openvino()
    path = trained("qmar")
    compressed = PillowCodec().compress(photo[:160, :160], 30)
    expected = load_model(path, CPU).restore(compressed)
    found = load_model(path, CPU, backend=backend, precision="bf16").restore(compressed)
    assert np.abs(found - expected).max() < 6 and found.dtype == np.float32


def test_several_threads_may_restore_at_once(photo, make_checkpoint):
    need_openvino()
    restorer = Restorer(make_checkpoint("qmar"), backend="openvino")
    model = restorer.models[3]
    images = [PillowCodec().compress(photo[i * 16 : i * 16 + 64, :80], 10) for i in range(6)]
    expected = [model.restore(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        for found, one in zip(pool.map(model.restore, images), expected, strict=True):
            assert np.array_equal(found, one)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"backend": "tensorrt"}, ("tensorrt", "openvino")),
        ({"precision": "fp16"}, ("fp16", "bf16")),
        ({"int8": True}, ("--int8", "openvino")),
        ({"backend": "onnxruntime"}, ("onnxruntime", "choose from torch, openvino")),
    ],
)
def test_choices_that_do_not_exist_are_told(make_checkpoint, keywords, words):
    with pytest.raises(UserError) as error:
        load_model(make_checkpoint("qmar"), CPU, **keywords)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("name", "title"), [("qmarg", "QGCN"), ("arcnn", "AR-CNN")])
def test_int8_is_refused_for_networks_whose_layers_carry_the_picture(call, make_checkpoint, name, title):
    words = ["--backend", "openvino", "--int8"]
    refused(call("restore", "photo.jpg", "--model", make_checkpoint(name), *words), f"--int8 does not suit {title}")


def test_openvino_takes_no_gpu(make_checkpoint):
    with pytest.raises(UserError, match="--cuda"):
        load_model(make_checkpoint("qmar"), torch.device("cuda"), backend="openvino")


@pytest.mark.parametrize(
    ("package", "words", "told"),
    [
        ("openvino", ["--backend", "openvino"], "pip install onnx openvino"),
        ("onnx", ["--backend", "openvino"], "pip install onnx"),
        ("nncf", ["--backend", "openvino", "--int8"], "pip install onnx openvino nncf"),
    ],
)
def test_a_missing_package_is_one_sentence(call, photo, make_checkpoint, monkeypatch, package, words, told):
    for other in {"onnx", "openvino"} - {package}:
        pytest.importorskip(other)
    model = make_checkpoint("qmar")
    monkeypatch.setitem(sys.modules, package, None)
    refused(call("restore", "photo.jpg", "--model", model, *words), told)


def test_nothing_is_reported_over_the_network(make_checkpoint, tmp_path):
    """An identifier of the machine in the home folder would show that a package reports."""
    need_openvino(int8=True)
    (tmp_path / "home").mkdir()
    words = ["--to", "openvino", "--int8"]
    environment = dict.fromkeys(NO_REPORTS) | {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": None}
    done = shell("export.py", make_checkpoint("qmar"), *words, env=environment)
    assert done.returncode == 0 and done.stderr == "", done
    assert not list((tmp_path / "home").rglob("deviceid"))


def test_programs_take_a_backend(call, photo, make_checkpoint, tmp_path):
    need_openvino()
    from PIL import Image

    Image.fromarray(photo[:40, :56]).save("photo.jpg", quality=20)
    model = make_checkpoint("qmar")
    assert call("restore", "photo.jpg", "-o", "torch.png", "--model", model).code == 0
    done = call("restore", "photo.jpg", "-o", "other.png", "--model", model, "--backend", "openvino")
    assert done.code == 0 and done.err == "", done
    first, second = (np.asarray(Image.open(name)).astype(int) for name in ("torch.png", "other.png"))
    assert np.abs(first - second).max() <= 1
    (tmp_path / "truth").mkdir()
    Image.fromarray(photo[:40, :56]).save("truth/a.png")
    words = ["--GT", "--gtdata", "truth", "--model", model]
    tables = [call("eval_qm", *words, *more) for more in ([], ["--backend", "openvino"])]
    assert [table.code for table in tables] == [0, 0]
    assert "openvino" in tables[1].out
    assert tables[0].out.splitlines()[-2].split()[:3] == tables[1].out.splitlines()[-2].split()[:3]
