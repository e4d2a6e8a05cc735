"""Exported files: other programs can run them, and ours can."""

import json
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, refused, shell
from PIL import Image
from skimage.transform import resize

from qgcn import checkpoints, nets
from qgcn.backends.graph import INPUTS
from qgcn.dataset.inputs import get_input
from qgcn.jpeg.codec import PillowCodec
from qgcn.restoring.model import load_model

CPU = torch.device("cpu")
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
PACKAGE = {"onnx": "onnxruntime", "openvino": "openvino"}
SIZES = [(1, 8, 8), (2, 24, 16), (1, 40, 72)]


@pytest.fixture
def export(call):
    """Exports and returns the file's path."""

    def run(model, to, *words, name="model"):
        pytest.importorskip("onnx")
        pytest.importorskip(PACKAGE[to])
        if "--int8" in words:
            pytest.importorskip("nncf")
        target = Path(name + SUFFIX[to])
        done = call("export", model, "--to", to, "-o", target, *words)
        assert done.code == 0 and done.out.startswith(f"{target}: ") and done.out.count("\n") == 1, done
        assert done.err == "" and target.is_file()
        return target

    return run


def outputs(path, inputs):
    """What the file makes of inputs (name -> array), by its own program alone."""
    if path.suffix == ".onnx":
        import onnxruntime

        return onnxruntime.InferenceSession(path).run(None, inputs)[0]
    import openvino

    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(inputs)["restored"]


@pytest.mark.parametrize("to", list(SUFFIX))
@pytest.mark.parametrize(
    ("name", "channels"), [(name, 3) for name in nets.NETWORKS] + [("qmar", 1), ("qmarg", 1), ("qmar_plus", 1)]
)
def test_exported_files_equal_torch(make_checkpoint, export, to, name, channels):
    path = make_checkpoint(name, channels)
    file = export(path, to)
    network = checkpoints.build_network(checkpoints.load(path)).eval()
    tables = get_input(nets.kind(name).input).planes[channels]
    for batch, height, width in SIZES:
        tensors = [torch.rand(batch, channels + tables, height, width) * 2 - 1]
        if name == "qmarg":
            tensors.append(torch.rand(batch, channels, 112, 112) * 2 - 1)
        with torch.inference_mode():
            expected = network(tuple(tensors) if len(tensors) > 1 else tensors[0]).numpy()
        named = {key: tensor.numpy() for key, tensor in zip(INPUTS, tensors, strict=False)}
        found = outputs(file, named)
        assert found.shape == expected.shape == (batch, channels, height, width)
        assert np.abs(found - expected).max() / 2 < 1e-4  # [-1, 1] is the range 0..1


def test_a_network_of_files_says_so(make_checkpoint, export):
    path = make_checkpoint("qmar")
    content = checkpoints.load(path)
    checkpoints.save(path, content | {"opt": content["opt"] | {"degradation": "real"}})
    file = export(path, "openvino")
    assert load_model(file, CPU).degradation == load_model(path, CPU).degradation == "real"
    assert load_model(export(make_checkpoint("edsr"), "openvino", name="other"), CPU).degradation == "published"


@pytest.mark.parametrize("to", list(SUFFIX))
def test_metadata_say_what_the_file_holds(make_checkpoint, export, to):
    path = make_checkpoint("qmarg", 1)
    file = export(path, to)
    if to == "onnx":
        import onnx

        metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    else:
        import openvino

        metadata = openvino.Core().read_model(file).get_rt_info(["qgcn"]).value
    content = checkpoints.load(path)
    assert metadata["net"] == "qmarg" and metadata["color_mode"] == "L" and metadata["int8"] == "false"
    assert int(metadata["halo"]) == checkpoints.build_network(content).halo
    assert json.loads(metadata["arguments"]) == content["arguments"]


@pytest.mark.parametrize("int8", [False, True])
def test_restore_takes_exported_files(photo, call, make_checkpoint, export, int8):
    path = make_checkpoint("qmar", identity=True)
    file = export(path, "openvino", *(["--int8"] if int8 else []))
    model = load_model(file, CPU)
    assert (model.name, model.channels, model.input_name) == ("qmar", 3, "jpeg_qm")
    compressed = PillowCodec().compress(photo[:45, :62], 10)
    expected = load_model(path, CPU).restore(compressed)
    assert np.abs(model.restore(compressed) - expected).max() < (3 if int8 else 0.0255)
    Image.fromarray(photo[:40, :56]).save("photo.jpg")
    assert call("restore", "photo.jpg", "-o", "out.png", "--model", file).code == 0
    assert Image.open("out.png").size == (56, 40)
    refused(call("restore", "photo.jpg", "-o", "no.png", "--model", file, "--backend", "torch"), "--backend openvino")
    done = call("restore", "photo.jpg", "-o", "int8.png", "--model", file, "--int8")
    if int8:
        assert done.code == 0, done
    else:
        refused(done, "8 bits", "--int8")


def show_the_global_branch(path, pixels):
    """Makes pixels several levels brighter where the whole image differs a little from ``pixels``."""
    content = checkpoints.load(path)
    small = resize(pixels, (112, 112), order=3, preserve_range=True).transpose(2, 0, 1) / 127.5 - 1
    with torch.no_grad():
        vector = checkpoints.build_network(content).global_features(torch.tensor(small[None]).float())[0]
    weight = 10 * torch.cos(torch.arange(24.0))
    content["model"]["conv_res_mid.weight"][:, 24:, 1, 1] = weight
    content["model"]["conv_res_mid.bias"] -= vector @ weight
    checkpoints.save(path, content)


def show_every_input(path):
    """Makes the result depend a little on every plane of the input."""
    content = checkpoints.load(path)
    torch.manual_seed(4)
    for weight in content["model"].values():
        weight += 0.01 * torch.randn_like(weight)
    checkpoints.save(path, content)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("qmar", {"quality": 10}),
        ("qmarg", {"quality": 10}),
        ("qmar_plus", {"quality": 95, "subsampling": "4:4:4"}),
        ("qmar_plus", {"quality": 20, "subsampling": "4:2:2"}),
    ],
)
def test_the_example_of_the_documentation_runs(photo, make_checkpoint, export, name, how):
    path = make_checkpoint(name, identity=True)
    if name == "qmarg":
        show_the_global_branch(path, photo[:85, :107])
    else:
        show_every_input(path)
    export(path, "onnx")
    Image.fromarray(photo[:85, :107]).save("photo.jpg", **how)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    exec(compile(example, "docs/export.md", "exec"), {})
    from qgcn.restoring.restorer import Restorer

    expected = Restorer(path).restore("photo.jpg")
    difference = np.asarray(Image.open("restored.png")).astype(int) - np.asarray(expected)
    assert difference.shape == (85, 107, 3) and np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.01


@pytest.mark.parametrize("to", list(SUFFIX))
def test_nothing_is_overwritten_unless_told(call, make_checkpoint, export, to):
    path = make_checkpoint("qmar")
    file = export(path, to)
    before = file.read_bytes()
    refused(call("export", path, "--to", to, "-o", file), "exists", "--overwrite")
    assert file.read_bytes() == before
    export(make_checkpoint("edsr"), to, "--overwrite")
    assert file.read_bytes() != before
    assert not list(Path().rglob(".*.tmp"))
    if to == "openvino":
        file.unlink()  # the weights beside it are somebody's too
        refused(call("export", path, "--to", to, "-o", file), "model.bin", "exists")


def test_the_default_name_is_the_models(call, make_checkpoint):
    pytest.importorskip("onnx")
    path = make_checkpoint("qmar")
    assert call("export", path, "--to", "onnx").code == 0
    assert path.with_suffix(".onnx").is_file()


def test_bad_input_is_one_sentence(call, make_checkpoint):
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")
    path = make_checkpoint("qmar")
    Path("text.pth").write_text("not a checkpoint")
    refused(call("export", "none.pth", "--to", "onnx"), "'none.pth' does not exist")
    refused(call("export", "text.pth", "--to", "onnx"), "'text.pth' can't be read")
    refused(call("export", "", "--to", "onnx"), "the argument after export.py is empty")
    refused(call("export", path, "--to", "tflite"), "'tflite' is unknown", "openvino")
    refused(call("export", path, "--to", "onnx", "-o", "model.xml"), "'model.xml'", ".onnx")
    refused(call("export", path, "--to", "onnx", "-o", "text.pth/model.onnx"), "text.pth")
    refused(call("export", path, "--to", "openvino", "--calibration", "."), "--int8")
    refused(call("export", path, "--to", "onnx", "--int8"), "--int8 takes --to openvino")
    int8 = ["--to", "openvino", "--int8"]
    refused(call("export", path, *int8, "--calibration", "none"), "'none'")
    refused(call("export", path, *int8, "--calibration", "text.pth"), "text.pth")
    refused(call("export", make_checkpoint("arcnn"), *int8), "--int8 does not suit AR-CNN")
    refused(call("export", make_checkpoint("qmarg"), *int8), "--int8 does not suit QGCN")
    assert not list(Path().glob("*.xml"))
    assert not list(Path().glob("*.onnx")) and not list(Path().rglob(".*.tmp"))


def test_files_that_are_no_exported_models_are_told(call, photo, make_checkpoint, export):
    Image.fromarray(photo[:40, :56]).save("photo.jpg")

    def told(model, *words):
        refused(call("restore", "photo.jpg", "-o", "out.png", "--model", model), *words)

    for name in ("none.onnx", export(make_checkpoint("qmar"), "onnx")):
        told(name, f"'{name}' is for other programs", "give the checkpoint", "--to openvino")
    told("none.xml", "'none.xml' does not exist")
    xml = export(make_checkpoint("qmar"), "openvino")
    own = xml.read_text()
    assert own.count("<qgcn>") == 1
    xml.write_text(own.replace("<qgcn>", "<other>").replace("</qgcn>", "</other>"))
    told(xml, "'model.xml' does not say which network")
    xml.write_text(own)
    Path("short.xml").write_bytes(xml.read_bytes()[:500])
    told("short.xml", "short.bin")
    Path("short.bin").write_bytes(b"")
    told("short.xml", "'short.xml' can't be read")
    xml.with_suffix(".bin").write_bytes(b"")
    told(xml, "can't be read")


def test_calibration_takes_a_folder(folder_of_photos, make_checkpoint, export):
    path = make_checkpoint("qmar", identity=True)
    words = {"sample": [], "again": [], "own": ["--calibration", folder_of_photos]}
    files = {name: export(path, "openvino", "--int8", *more, name=name) for name, more in words.items()}
    values = {name: file.with_suffix(".bin").read_bytes() for name, file in files.items()}
    assert values["sample"] == values["again"]
    assert values["sample"] != values["own"]


def test_export_without_its_package_is_one_sentence(call, make_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(call("export", make_checkpoint("qmar"), "--to", "onnx"), "pip install onnx")


def test_a_full_temporary_folder_is_one_sentence(make_checkpoint):
    pytest.importorskip("onnx")
    pytest.importorskip("openvino")

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    words = [make_checkpoint("qmar"), "--to", "openvino", "-o", "out.xml"]
    done = shell("export.py", *words, preexec_fn=small_files_only, env={"TMPDIR": str(Path.cwd())})
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert "OpenVINO can't write into the temporary folder" in done.stderr and str(Path.cwd()) in done.stderr
    assert not Path("out.xml").exists() and not Path("out.bin").exists()
