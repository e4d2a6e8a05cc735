"""Files and folders: what is found, where it goes, and batches."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, refused
from PIL import Image
from restoring import write_album

from qgcn.nets import qmar


@pytest.fixture
def album(tmp_path, photo):
    return write_album(tmp_path / "album", photo)


def test_folders_are_mirrored(call, album, make_checkpoint):
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar", identity=True))
    assert done.code == 0 and "restored 4 of 4" in done.out
    found = sorted(file.relative_to("out").as_posix() for file in Path("out").rglob("*") if file.is_file())
    assert found == ["a.png", "b.png", "gray.png", "nested/c.png"]
    with Image.open(album / "nested" / "c.jpg") as jpeg, Image.open("out/nested/c.png") as png:
        assert np.array_equal(np.asarray(jpeg), np.asarray(png))


def test_bad_files_are_named_and_the_others_go_on(call, album, make_checkpoint):
    (album / "bad.jpg").write_bytes((album / "a.jpg").read_bytes()[:300])
    Image.new("RGB", (8, 8)).save(album / "really_a.jpg", "PNG")
    (album / "empty.jpg").write_bytes(b"")
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "restored 4 of 7" in done.out and "Traceback" not in done.err
    assert all(name in done.err for name in ("bad.jpg", "really_a.jpg", "empty.jpg")) and "it is a PNG" in done.err
    assert not Path("out/bad.png").exists()


def test_files_in_folders_that_are_left_alone_are_told(call, album, make_checkpoint):
    path = ("--model", make_checkpoint("qmar", identity=True))
    (album / "a.jpg").rename(album / "a.JFIF")
    (album / "nested" / "c.jpg").rename(album / "nested" / "c")
    (album / "notes.txt").write_text("notes")
    done = call("restore", album, "-o", "out", *path)
    assert done.code == 0 and "restored 3 of 3" in done.out and Path("out/a.png").exists()
    assert "2 files were left alone" in done.err and "notes.txt" in done.err and "nested/c" in done.err
    assert "left alone" not in call("restore", album / "gray.jpg", "-o", "out2", *path).err


def test_files_done_are_skipped_when_a_batch_is_resumed(call, album, make_checkpoint):
    words = ("restore", album, "-o", "out", "--model", make_checkpoint("qmar", identity=True))
    assert call(*words).code == 0
    kept = Path("out/a.png").stat()
    Path("out/b.png").unlink()
    done = call(*words, "--resume")
    assert done.code == 0 and "restored 1 of 4 files (3 skipped, 0 failed)" in done.out
    assert Path("out/b.png").exists() and Path("out/a.png").stat() == kept
    refused(call(*words), "exists", "--overwrite", "--resume")


def test_a_batch_goes_on_where_its_output_lies_in_its_input(call, album, make_checkpoint):
    model = ("--model", make_checkpoint("qmar", identity=True))
    words = ("restore", album, "-o", album / "done", "--format", "jpg", *model)
    first = call(*words)
    assert first.code == 0 and "restored 4 of 4 files" in first.out, first.err
    (album / "done" / "a.jpg").unlink()
    again = call(*words, "--resume")
    assert again.code == 0 and "restored 1 of 4 files (3 skipped, 0 failed)" in again.out, again.err
    assert "note: 3 files in" in again.err and "were taken for results" in again.err
    assert sorted(path.name for path in (album / "done").rglob("*.*")) == ["a.jpg", "b.jpg", "c.jpg", "gray.jpg"]
    one = call("restore", album / "done" / "a.jpg", "-o", "again/", *model)  # by name it is an input like any other
    assert one.code == 0 and Path("again/a.png").exists()
    shutil.rmtree(album / "done")
    (album / "done").mkdir()
    shutil.copy(album / "a.jpg", album / "done")
    for name in ("a.jpg", "b.JPEG", "nested/c.jpg", "gray.jpg"):
        (album / name).unlink()
    refused(call("restore", album, "-o", album / "done", *model), "nothing but the output")


def test_an_output_that_is_an_input_by_another_name_is_refused(call, album, make_checkpoint):
    os.link(album / "a.jpg", album / "a.png")  # as A.JPG and a.jpg are where case does not count
    words = ("restore", album, "-o", album, "--model", make_checkpoint("qmar", identity=True))
    refused(call(*words, "--overwrite"), "a.png", "is an input")


def test_several_jobs_do_the_same(call, album, make_checkpoint):
    (album / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    model = ("--model", make_checkpoint("qmar"))
    try:
        for jobs in (1, 3):
            done = call("restore", album, "-o", f"out{jobs}", "--jobs", jobs, *model)
            assert done.code == 1 and "restored 4 of 5 files (0 skipped, 1 failed)" in done.out
            assert "bad.jpg" in done.err and "megapixels/s" in done.out
    finally:
        torch.set_num_threads(1)
    for name in ("a.png", "b.png", "gray.png", "nested/c.png"):
        assert Path("out1", name).read_bytes() == Path("out3", name).read_bytes()


def test_processes_share_a_batch(album, make_checkpoint):
    command = ["-m", "torch.distributed.run", "--nproc_per_node=2", str(ROOT / "src" / "restore.py"), str(album)]
    words = [*command, "-o", "out", "--model", str(make_checkpoint("qmar"))]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout.count("restored 4 of 4") == 1, done.stderr
    assert len(list(Path("out").rglob("*.png"))) == 4


@pytest.mark.parametrize("more", [(), ("--resume",), ("--overwrite",)])
def test_inputs_of_one_name_are_refused_before_the_work(call, album, make_checkpoint, more):
    for place in ("x", "y"):
        (album / place).mkdir()
        shutil.copy(album / "a.jpg", album / place / "same.jpg")
    words = ("-o", "out", "--model", make_checkpoint("qmar", identity=True), *more)
    both = (album / "x" / "same.jpg", album / "y" / "same.jpg")
    told = (
        "x/same.jpg' and",
        "y/same.jpg' would both be written as 'same.png'",
        "the folder that holds both",
        "output",
    )
    refused(call("restore", *both, *words), *told)
    refused(call("restore", album / "x", album / "y", *words), *told)
    assert not Path("out").exists()
    assert "restored 6 of 6" in call("restore", album, *words).out
    assert Path("out/x/same.png").exists() and Path("out/y/same.png").exists()


def test_a_file_named_twice_is_one(call, album, make_checkpoint):
    words = ("-o", "out", "--resume", "--model", make_checkpoint("qmar", identity=True))
    assert "restored 1 of 1" in call("restore", album / "a.jpg", album / "a.jpg", *words).out
    assert "restored 3 of 4 files (1 skipped" in call("restore", album, album / "a.jpg", *words).out


def test_the_name_of_an_output_does_not_depend_on_neighbours(call, album, make_checkpoint):
    words = ("restore", album, "-o", "out", "--resume", "--model", make_checkpoint("qmar", identity=True))
    assert "restored 4 of 4" in call(*words).out
    before = sorted(Path("out").rglob("*"))
    shutil.copy(album / "a.jpg", album / "a.jpeg")
    refused(call(*words), "a.jpeg' and", "a.jpg' would both be written as 'a.png'", "rename one")
    assert sorted(Path("out").rglob("*")) == before
    (album / "a.jpeg").rename(album / "a_2.jpeg")
    assert "restored 1 of 5 files (4 skipped" in call(*words).out and Path("out/a_2.png").exists()


def test_too_little_memory_fails_one_file_and_the_others_go_on(call, album, make_checkpoint, monkeypatch):
    forward = qmar.Net.forward

    def short(self, x):
        if x.shape[2] < 40:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: ...")
        return forward(self, x)

    monkeypatch.setattr(qmar.Net, "forward", short)
    with Image.open(album / "a.jpg") as image:
        image.crop((0, 0, 32, 32)).save(album / "small.jpg")
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "restored 4 of 5" in done.out and "Traceback" not in done.err, done.err
    assert "small.jpg' takes more memory than there is: a lower --memory" in done.err


def test_hostile_names_and_places(call, album, make_checkpoint):
    (album / "folder.jpg").mkdir()
    (album / "loop.jpg").symlink_to(album / "loop.jpg")
    (album / "around").symlink_to(album)
    os.mkfifo(album / "pipe.jpg")
    os.rename(album / "a.jpg", os.fsencode(album) + b"/\xe9\xff.jpg")
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "restored 4 of 6" in done.out and "Traceback" not in done.err
    assert "loop.jpg" in done.err and "pipe.jpg' can't be restored: it is no regular file" in done.err
    assert os.path.exists(b"out/\xe9\xff.png")
    assert not [name for name in os.listdir("out") if name.endswith(".tmp")]


def test_a_folder_that_cannot_be_read_is_told(call, album, make_checkpoint, monkeypatch):
    scandir = os.scandir

    def refusing(place="."):  # permissions don't bind the superuser
        if os.path.basename(place) == "nested":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    refused(done, "nested' can't be read: Permission denied")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions don't bind the superuser")
def test_files_without_permission_are_named(call, album, make_checkpoint):
    (album / "a.jpg").chmod(0)
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "restored 3 of 4" in done.out and "Permission denied" in done.err


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interruption_leaves_no_partial_file(album, photo, make_checkpoint, jobs):
    for i in range(60):
        Image.fromarray(np.tile(photo, (2, 2, 1))).save(album / f"more{i}.jpg")
    model = make_checkpoint("qmar", n_resblocks=8)
    command = [sys.executable, ROOT / "src" / "restore.py", album, "-o", "out", "--model", model, "--jobs", jobs]
    process = subprocess.Popen(
        [*map(str, command)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
    )
    while not list(Path("out").glob("more*.png")) and process.poll() is None:
        pass
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=100)[1]
    assert process.returncode == 130 and b"interrupted" in error and b"Traceback" not in error
    left = [path for path in Path("out").rglob("*") if path.is_file()]
    assert 0 < len(left) < 60 and {path.suffix for path in left} == {".png"}
    for path in left:
        Image.open(path).load()
