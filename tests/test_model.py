"""A network ready to restore, with all that its checkpoint says of it."""

import numpy as np
import pytest
import torch

from qgcn import checkpoints, nets
from qgcn.dataset.inputs import INPUTS
from qgcn.jpeg.codec import PillowCodec
from qgcn.restoring.model import checkpoint_folder, load_model, shipped_checkpoints
from qgcn.restoring.tiles import restore_image
from qgcn.utils.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(
    ("name", "title", "loader"),
    [
        ("qmar", "QCN", "jpeg_qm"),
        ("qmarg", "QGCN", "jpeg_qmg"),
        ("edsr", "EDSR", "jpeg"),
        ("arcnn", "AR-CNN", "jpeg"),
        ("arcnn-FastARCNN", "Fast AR-CNN", "jpeg"),
    ],
)
def test_a_model_knows_itself_and_restores_tile_by_tile(photo, make_checkpoint, name, title, loader, channels):
    path = make_checkpoint(name, channels)
    model = load_model(path, CPU)
    assert (model.name, model.title, model.input_name, model.channels) == (name, title, loader, channels)
    assert model.color_mode == {3: "RGB", 1: "L"}[channels] and model.source == str(path)
    compressed = PillowCodec().compress(photo[:21, :34, :channels], 10)
    network = checkpoints.build_network(checkpoints.load(path))  # another memory format, so equal to rounding only
    expected = restore_image(network, model.input, compressed, device=CPU, tile=64)
    restored = model.restore(compressed)
    assert restored.shape == (21, 34, channels) and restored.dtype == np.float32
    np.testing.assert_allclose(restored, expected, rtol=0, atol=0.005)


def test_restoring_keeps_the_input_and_is_repeatable(photo, make_checkpoint):
    model = load_model(make_checkpoint("qmarg"), CPU)
    compressed = PillowCodec().compress(photo[:24, :40], 10)
    before = [np.array(part) for part in compressed]
    first, second = model.restore(compressed), model.restore(compressed)
    assert np.array_equal(first, second)
    assert all(np.array_equal(old, new) for old, new in zip(before, compressed, strict=True))


def test_the_tables_are_seen(photo, make_checkpoint):
    compressed = PillowCodec().compress(photo[:24, :40], 10)
    other = compressed._replace(tables=PillowCodec().compress(photo[:24, :40], 90).tables)
    for name, seen in (("qmar", True), ("qmarg", True), ("edsr", False), ("arcnn", False)):
        model = load_model(make_checkpoint(name), CPU)
        assert np.array_equal(model.restore(compressed), model.restore(other)) != seen


def test_a_checkpoint_that_can_not_be_read_is_told(tmp_path):
    with pytest.raises(UserError, match=r"none\.pth' does not exist"):
        load_model(tmp_path / "none.pth", CPU)


def test_the_best_shipped_checkpoint_of_a_colour_mode_is_found(tmp_path):
    for path in shipped_checkpoints("RGB", "L"):
        assert (checkpoints.image_channels(checkpoints.load(path)) == 3) == ("rgb" in path.name)
    assert shipped_checkpoints("RGB")  # the default of restore.py
    with pytest.raises(UserError, match="give --model"):
        shipped_checkpoints("RGB", folder=tmp_path)
    for name in ("edsr_rgb.pth", "qgcn_rgb.pth", "qcn_rgb.pth", "qcn_plus_rgb.pth"):  # the best last
        (tmp_path / name).touch()
        assert shipped_checkpoints("RGB", "L", folder=tmp_path) == [tmp_path / name]
    gray = tmp_path / "qcn_gray.pth"
    gray.touch()
    assert shipped_checkpoints("L", folder=tmp_path) == [gray] == shipped_checkpoints("RGB", "L", folder=tmp_path)[1:]
    assert shipped_checkpoints("RGB", input_name="jpeg_qm", folder=tmp_path) == [tmp_path / "qcn_rgb.pth"]
    with pytest.raises(UserError, match="give --model"):
        shipped_checkpoints("L", input_name="jpeg_qmg", folder=tmp_path)


def test_checkpoints_lie_in_an_installed_package_or_in_the_repository(tmp_path):
    package = tmp_path / "src" / "qgcn"
    package.mkdir(parents=True)
    assert checkpoint_folder(package) == tmp_path / "checkpoint"
    (package / "checkpoint").mkdir()
    assert checkpoint_folder(package) == package / "checkpoint"


def test_every_network_has_a_loader_and_a_script():
    from qgcn.evaluating.program import SCRIPTS

    assert {kind.input for kind in nets.NETWORKS.values()} == set(SCRIPTS) == set(INPUTS)
