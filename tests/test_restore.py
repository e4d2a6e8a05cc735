"""Restoring a person's own JPEGs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refused
from PIL import Image

from engine import to_bytes
from jpeg.codec import Compressed, PillowCodec
from model import load_model
from restore import read_jpeg
from utils.errors import UserError


@pytest.fixture
def album(tmp_path, photo):
    """A folder of JPEGs of several qualities and sizes, one of them nested and one of them gray."""
    (tmp_path / "album" / "nested").mkdir(parents=True)
    for name, quality, part in (
        ("a.jpg", 10, np.s_[:50, :70]),
        ("b.JPEG", 90, np.s_[:33, :35]),
        ("nested/c.jpg", 40, np.s_[:64, :64]),
    ):
        Image.fromarray(photo[part]).save(tmp_path / "album" / name, "JPEG", quality=quality)
    Image.fromarray(photo[:40, :40, 0]).save(tmp_path / "album" / "gray.jpg", quality=20)
    return tmp_path / "album"


def test_a_photo_is_restored_with_its_own_tables(call, album, photo, make_checkpoint):
    path = make_checkpoint("qmar")
    done = call("restore", album / "a.jpg", "-o", "out.png", "--model", path)
    assert done.code == 0, done.err
    model = load_model(path, torch.device("cpu"))
    expected = to_bytes(model.restore(PillowCodec().compress(photo[:50, :70], 10)))
    assert np.array_equal(np.asarray(Image.open("out.png")), expected)


def test_other_tables_give_another_result(photo, make_checkpoint):
    model = load_model(make_checkpoint("qmar"), torch.device("cpu"))
    pixels, tables = PillowCodec().compress(photo[:48, :48], 10)
    assert not np.allclose(model.restore(Compressed(pixels, tables)), model.restore(Compressed(pixels, tables // 2)))


def test_folders_are_mirrored(call, album, make_checkpoint):
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar", identity=True))
    assert done.code == 0 and "restored 4 of 4" in done.out
    found = sorted(file.relative_to("out").as_posix() for file in Path("out").rglob("*") if file.is_file())
    assert found == ["a.png", "b.png", "gray.png", "nested/c.png"]
    with Image.open(album / "nested" / "c.jpg") as jpeg, Image.open("out/nested/c.png") as png:
        assert np.array_equal(np.asarray(jpeg), np.asarray(png))


def test_every_network_restores(call, album, make_checkpoint):
    for name in ("qmarg", "edsr", "arcnn"):
        done = call("restore", album / "b.JPEG", "-o", f"{name}.png", "--model", make_checkpoint(name))
        assert done.code == 0 and Image.open(f"{name}.png").size == (35, 33)


def test_the_shipped_checkpoint_is_the_default(call, album):
    done = call("restore", album / "a.jpg")
    assert done.code == 0 and Path("results/restored/a.png").exists()


def test_a_gray_file_counts_as_colour_with_one_table(album):
    compressed = read_jpeg(album / "gray.jpg", 3)
    assert compressed.pixels.shape == (40, 40, 3) and np.array_equal(compressed.tables[0], compressed.tables[1])
    assert read_jpeg(album / "gray.jpg", 1).tables.shape == (1, 8, 8)
    with pytest.raises(UserError, match="restores gray only"):
        read_jpeg(album / "a.jpg", 1)


def test_bad_files_are_named_and_the_others_go_on(call, album, make_checkpoint):
    (album / "bad.jpg").write_bytes((album / "a.jpg").read_bytes()[:300])
    Image.new("RGB", (8, 8)).save(album / "really_a.jpg", "PNG")
    (album / "empty.jpg").write_bytes(b"")
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "restored 4 of 7" in done.out and "Traceback" not in done.err
    assert all(name in done.err for name in ("bad.jpg", "really_a.jpg", "empty.jpg")) and "it is a PNG" in done.err
    assert not Path("out/bad.png").exists()


def test_nothing_is_overwritten_by_accident(call, album, make_checkpoint):
    path = make_checkpoint("qmar")
    before = (album / "a.jpg").read_bytes()
    assert call("restore", album / "a.jpg", "-o", "out.png", "--model", path).code == 0
    refused(call("restore", album / "a.jpg", "-o", "out.png", "--model", path), "'out.png' exists", "--overwrite")
    assert call("restore", album / "a.jpg", "-o", "out.png", "--model", path, "--overwrite").code == 0
    refused(call("restore", album / "a.jpg", "-o", "out.jpg", "--model", path), "out.jpg", ".png")
    (album / "d.png").write_bytes(before)  # a JPEG under a wrong name
    refused(call("restore", album / "d.png", "-o", album / "d.png", "--model", path, "--overwrite"), "is an input")
    assert (album / "a.jpg").read_bytes() == (album / "d.png").read_bytes() == before


def test_what_is_not_there_is_told(call, album, make_checkpoint):
    refused(call("restore", "none.jpg"), "'none.jpg' does not exist")
    refused(call("restore", album / "a.jpg", "--model", "none.pth"), "none.pth", "does not exist")
    (album / "empty").mkdir()
    refused(call("restore", album / "empty", "--model", make_checkpoint("qmar")), "no image")
