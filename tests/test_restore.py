"""The program: its options, one file, standard input and output."""

import subprocess
import sys
from argparse import Namespace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, refused, shell
from PIL import Image
from restoring import write_album

from qgcn.jpeg.codec import PillowCodec
from qgcn.jpeg.reader import read_photo
from qgcn.jpeg.tables import standard_tables
from qgcn.restoring.model import load_model
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.tiles import to_bytes

CPU = torch.device("cpu")


@pytest.fixture
def album(tmp_path, photo):
    return write_album(tmp_path / "album", photo)


def test_a_photo_is_restored_with_its_own_tables(call, album, photo, make_checkpoint):
    path = make_checkpoint("qmar")
    done = call("restore", album / "a.jpg", "-o", "out.png", "--model", path)
    assert done.code == 0, done.err
    model = load_model(path, CPU)
    expected = to_bytes(model.restore(PillowCodec().compress(photo[:50, :70], 10)))
    assert np.array_equal(np.asarray(Image.open("out.png")), expected)


def test_every_network_restores(call, album, make_checkpoint):
    for name in ("qmarg", "edsr", "arcnn"):
        done = call("restore", album / "b.JPEG", "-o", f"{name}.png", "--model", make_checkpoint(name))
        assert done.code == 0 and Image.open(f"{name}.png").size == (35, 33)


def test_the_shipped_checkpoint_is_the_default(call, album):
    done = call("restore", album / "a.jpg")
    assert done.code == 0 and Path("results/restored/a.png").exists()


def test_nothing_is_overwritten_by_accident(call, album, make_checkpoint):
    path = make_checkpoint("qmar")
    before = (album / "a.jpg").read_bytes()
    assert call("restore", album / "a.jpg", "-o", "out.png", "--model", path).code == 0
    refused(call("restore", album / "a.jpg", "-o", "out.png", "--model", path), "'out.png' exists", "--overwrite")
    assert call("restore", album / "a.jpg", "-o", "out.png", "--model", path, "--overwrite").code == 0
    refused(call("restore", album / "a.jpg", "-o", "out.gif", "--model", path), "out.gif", ".png")
    (album / "d.png").write_bytes(before)  # a JPEG under a wrong name
    refused(call("restore", album / "d.png", "-o", album / "d.png", "--model", path, "--overwrite"), "is an input")
    assert (album / "a.jpg").read_bytes() == (album / "d.png").read_bytes() == before


def test_outputs_that_nobody_can_mean_are_refused_before_the_work(call, album, make_checkpoint, monkeypatch):
    monkeypatch.setattr("qgcn.restoring.restorer.Restorer.restore_picture", None)  # nothing gets so far
    path = ("--model", make_checkpoint("qmar"))
    first, second = album / "a.jpg", album / "b.JPEG"
    Path("file").write_text("a file")
    refused(call("restore", album, "-o", "file", *path), "'file' is a file", "folder")
    refused(call("restore", first, second, "-o", "one.png", *path), "'one.png' names one file")
    refused(call("restore", first, "-o", "file/out.png", *path), "'file' can't be read or written: Not a directory")
    refused(call("restore", first, "-o", "out.png", "--format", "webp", *path), "--format webp", "'out.png'")
    refused(call("restore", "", "-o", "out", *path), "empty")
    refused(call("restore", first, "-o", "", *path), "the argument after -o is empty")
    refused(call("restore", first, "-o", "out.png", "--out_quality", 50, *path), "--out_quality 50", "not PNG")
    refused(call("restore", album, "-o", "out", "--resume", "--overwrite", *path), "--resume", "--overwrite")
    assert Path("file").read_text() == "a file" and not Path("one.png").exists() and not Path("out").exists()


def test_a_name_that_ends_in_a_slash_is_a_folder(call, album, make_checkpoint):
    path = ("--model", make_checkpoint("qmar", identity=True))
    assert call("restore", album / "a.jpg", "-o", "new/", *path).code == 0
    assert call("restore", album / "a.jpg", album / "b.JPEG", "-o", "new.png/", *path).code == 0
    assert Path("new/a.png").exists() and Path("new.png/b.png").exists()


def test_what_is_not_there_is_told(call, album, make_checkpoint):
    refused(call("restore", "none.jpg"), "'none.jpg' does not exist")
    refused(call("restore", album / "a.jpg", "--model", "none.pth"), "none.pth", "does not exist")
    (album / "empty").mkdir()
    refused(call("restore", album / "empty", "--model", make_checkpoint("qmar")), "no image")
    refused(call("restore", album / "empty", "-o", "z"), "no image", "(.jfi .jfif .jif .jpe .jpeg .jpg)")
    (album / "link.jpg").symlink_to("nowhere.jpg")
    done = call("restore", album / "link.jpg", "-o", "z.png", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "link.jpg" in done.err and "can't be read" in done.err and "folder" not in done.err


def test_a_checkpoint_of_each_kind(call, album, make_checkpoint):
    models = [word for channels in (1, 3) for word in ("--model", make_checkpoint("qmar", channels, identity=True))]
    assert call("restore", album, "-o", "out", *models).code == 0
    assert Image.open("out/gray.png").mode == "L" and Image.open("out/a.png").mode == "RGB"


def test_formats(call, album, make_checkpoint):
    model = ("--model", make_checkpoint("qmar", identity=True))
    decoded = np.asarray(Image.open(album / "a.jpg"))
    for form, suffix in (("png", ".png"), ("webp", ".webp"), ("tiff", ".tif"), ("jpg", ".jpg")):
        assert call("restore", album / "a.jpg", "-o", f"out{suffix}", *model).code == 0
        done = call("restore", album, "-o", form, "--format", form, *model)
        assert done.code == 0 and Path(form, "nested", f"c{suffix}").exists()
        for name in (f"out{suffix}", f"{form}/a{suffix}"):
            result = np.asarray(Image.open(name)).astype(int)
            assert np.abs(result - decoded).max() <= (0 if form != "jpg" else 8)
    coarse = call("restore", album / "a.jpg", "-o", "coarse.jpg", "--out_quality", 30, *model)
    assert coarse.code == 0 and np.array_equal(
        read_photo(Path("coarse.jpg").read_bytes()).tables[:2], standard_tables(30)
    )
    refused(call("restore", album, "-o", "x", "--format", "gif", *model), "'gif'", "webp")
    refused(call("restore", album / "a.jpg", "-o", "x.jpg", "--depth", 16, *model), "--depth 16", "PNG")


def test_patterns_are_the_shells(call, album, make_checkpoint):
    model = ("--model", make_checkpoint("qmar", identity=True))
    for pattern in ("*.gif", "a.jp?", "[ab].jpg"):
        refused(call("restore", album / pattern, *model), pattern, "does not exist", "without quotes", "the shell")
    (album / "a.jpg").rename(album / "a[1].jpg")
    assert call("restore", album / "a[1].jpg", "-o", "out.png", *model).code == 0


def test_damaged_files_are_restored_where_that_is_asked_for(call, album, make_checkpoint):
    content = (album / "b.JPEG").read_bytes()
    (album / "b.JPEG").write_bytes(content[:-300])
    words = ("restore", album / "b.JPEG", "--model", make_checkpoint("qmar"))
    done = call(*words, "-o", "out.png")
    assert done.code == 1 and "b.JPEG" in done.err and "--tolerant" in done.err and not Path("out.png").exists()
    done = call(*words, "-o", "out.png", "--tolerant")
    assert done.code == 0 and "warning: " in done.err and "truncated" in done.err and Path("out.png").exists()


def test_large_pictures_are_refused_until_the_limit_is_lifted(call, album, make_checkpoint):
    words = ("restore", album / "a.jpg", "-o", "out.png", "--model", make_checkpoint("qmar"))
    done = call(*words, "--max_megapixels", 0.003)
    assert done.code == 1 and "70 x 50 pixels" in done.err and "--max_megapixels" in done.err
    assert call(*words, "--max_megapixels", 0.0035).code == 0


def test_standard_input_goes_to_standard_output(album, make_checkpoint):
    command = [sys.executable, ROOT / "src" / "restore.py", "-", "--model", make_checkpoint("qmar", identity=True)]
    content = (album / "a.jpg").read_bytes()
    done = subprocess.run(command, input=content, capture_output=True, timeout=100)
    assert done.returncode == 0 and not done.stderr
    assert np.array_equal(np.asarray(Image.open(BytesIO(done.stdout))), np.asarray(Image.open(album / "a.jpg")))


def test_standard_input_goes_to_a_file(call, album, make_checkpoint, monkeypatch):
    content = (album / "a.jpg").read_bytes()

    def restored(content, *words):
        monkeypatch.setattr(sys, "stdin", Namespace(buffer=BytesIO(content)))
        return call("restore", "-", "--model", make_checkpoint("qmar", identity=True), *words)

    done = restored(content, "-o", "out.webp")
    assert done.code == 0 and Image.open("out.webp").format == "WEBP" and not done.out
    refused(restored(content, "-o", "out.webp"), "'out.webp' exists")
    refused(restored(content, "-o", "new/"), "'new/' is a folder")
    assert not Path("new").exists()
    refused(restored(content[:-60], "-o", "cut.png"), "truncated")
    refused(restored(content, "--max_megapixels", 0.0001), "standard input holds more than")
    refused(call("restore", "-", album / "a.jpg"), "alone")
    assert not Path("cut.png").exists()


def test_standard_input_is_not_overwritten(album, make_checkpoint):
    content = (album / "a.jpg").read_bytes()
    (album / "link.jpg").symlink_to(album / "a.jpg")
    for name in ("a.jpg", "link.jpg"):
        with open(album / "a.jpg", "rb") as file:
            done = shell(
                "restore.py", "-", "-o", album / name, "--overwrite", "--model", make_checkpoint("qmar"), stdin=file
            )
        refused(Namespace(code=done.returncode, err=done.stderr), name, "is the file that standard input reads")
    assert (album / "a.jpg").read_bytes() == content


def test_an_input_that_is_missing_is_told_as_such(call):
    refused(call("restore", "phto.jpg", "-o", "out.png"), "the input 'phto.jpg' does not exist")
    refused(call("restore", "phtos/*.jpg", "-o", "out.png"), "the input 'phtos/*.jpg' does not exist")


def test_a_file_where_a_folder_is_needed_is_named(call, album, make_checkpoint):
    Path("a.png").write_bytes(b"mine")
    done = call("restore", album / "a.jpg", "-o", "a.png/x.png", "--model", make_checkpoint("qmar"))
    refused(done, "'a.png' can't be read or written: Not a directory")
    assert Path("a.png").read_bytes() == b"mine"


def test_to_import_the_program_brings_in_nothing_large():
    code = "import sys; sys.path.insert(0, 'src'); import restore; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_the_program_is_a_library_still():
    from restore import Restorer as of_the_program

    assert of_the_program is Restorer
    with pytest.raises(ImportError, match="cannot import name 'Engine'"):
        from restore import Engine  # noqa: F401
