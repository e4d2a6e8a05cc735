"""Restoring a person's own JPEGs."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, network_arguments, refused, shell
from PIL import ExifTags, Image, ImageCms

from qgcn import nets
from qgcn.jpeg.codec import Compressed, PillowCodec
from qgcn.jpeg.reader import Metadata, Photo, read_photo
from qgcn.jpeg.tables import standard_tables
from qgcn.nets import qmar
from qgcn.restoring import write as output
from qgcn.restoring.components import self_ensemble
from qgcn.restoring.files import Writing, restore_file
from qgcn.restoring.model import Model, load_model
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.tiles import to_bytes
from qgcn.utils.errors import UserError

CPU = torch.device("cpu")


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
    model = load_model(path, CPU)
    expected = to_bytes(model.restore(PillowCodec().compress(photo[:50, :70], 10)))
    assert np.array_equal(np.asarray(Image.open("out.png")), expected)


def test_other_tables_give_another_result(photo, make_checkpoint):
    model = load_model(make_checkpoint("qmar"), CPU)
    pixels, tables, _ = PillowCodec().compress(photo[:48, :48], 10)
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


def test_files_in_folders_that_are_left_alone_are_told(call, album, make_checkpoint):
    path = ("--model", make_checkpoint("qmar", identity=True))
    (album / "a.jpg").rename(album / "a.JFIF")
    (album / "nested" / "c.jpg").rename(album / "nested" / "c")
    (album / "notes.txt").write_text("notes")
    done = call("restore", album, "-o", "out", *path)
    assert done.code == 0 and "restored 3 of 3" in done.out and Path("out/a.png").exists()
    assert "2 files were left alone" in done.err and "notes.txt" in done.err and "nested/c" in done.err
    assert "left alone" not in call("restore", album / "gray.jpg", "-o", "out2", *path).err


def test_the_best_shipped_networks_are_taken(monkeypatch):
    seen = []

    def load(path, *_, **__):
        seen.append(path.name)
        return Namespace(channels=3 if "rgb" in path.name else 1)

    monkeypatch.setattr("qgcn.restoring.restorer.load_model", load)
    Restorer()
    assert seen == ["qcn_plus_rgb.pth", "qcn_plus_gray.pth"]


def test_what_is_not_there_is_told(call, album, make_checkpoint):
    refused(call("restore", "none.jpg"), "'none.jpg' does not exist")
    refused(call("restore", album / "a.jpg", "--model", "none.pth"), "none.pth", "does not exist")
    (album / "empty").mkdir()
    refused(call("restore", album / "empty", "--model", make_checkpoint("qmar")), "no image")
    refused(call("restore", album / "empty", "-o", "z.png"), "no image", "(.jfi .jfif .jif .jpe .jpeg .jpg)")
    (album / "link.jpg").symlink_to("nowhere.jpg")
    done = call("restore", album / "link.jpg", "-o", "z.png", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "link.jpg" in done.err and "can't be read" in done.err and "folder" not in done.err


# ---------------------------------------------------------------------------- which network, which pixels


def near_identity(name, channels):
    """A tiny network that changes its input a little, tables included."""
    torch.manual_seed(0)
    network = nets.build(name, network_arguments(name, channels))
    network.initialise_identity()
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return Model(network.eval(), name, channels, CPU, 512, f"{name}_{channels}")


@pytest.fixture(scope="module")
def color():
    return near_identity("qmar", 3)


@pytest.fixture(scope="module")
def gray():
    return near_identity("qmar", 1)


def stream(pixels, mode=None, form="JPEG", **keywords):
    file = BytesIO()
    Image.fromarray(pixels, mode).save(file, form, **keywords)
    return file.getvalue()


def test_each_file_goes_to_its_own_network(photo, color, gray):
    both = Restorer([gray, color])
    for pixels, model in ((photo[:40, :56], color), (photo[:40, :56, 0], gray)):
        content = stream(pixels, quality=20)
        read = read_photo(content)
        tables = standard_tables(20)[: 2 if model is color else 1]
        expected = to_bytes(model.restore(Compressed(read.pixels, tables)))
        assert np.array_equal(np.asarray(both.restore(content)).reshape(expected.shape), expected)
    with pytest.raises(UserError, match="both for colour"):
        Restorer([color, near_identity("edsr", 3)])


def test_gray_goes_through_a_color_network_alone(photo, color):
    content = stream(photo[:40, :56, 0], quality=20)
    read = read_photo(content)
    tables = np.repeat(standard_tables(20)[:1], 2, 0)
    expected = color.restore(Compressed(np.repeat(read.pixels, 3, 2), tables)) @ np.float32([0.299, 0.587, 0.114])
    result = Restorer(color).restore(content)
    assert result.mode == "L" and np.array_equal(np.asarray(result), np.rint(expected).astype(np.uint8))


def test_a_gray_network_alone_restores_the_luma_of_color(photo, gray):
    # gray pixels in an RGB file have a chroma of zero before and after
    content = stream(photo[:40, :56], quality=90, subsampling=0)
    before = np.asarray(Image.fromarray(read_photo(content).pixels).convert("YCbCr")).astype(int)
    after = np.asarray(Restorer(gray).restore(content).convert("YCbCr")).astype(int)
    inside = (after[..., 0] > 30) & (after[..., 0] < 225) & (before[..., 0] > 30) & (before[..., 0] < 225)
    assert inside.mean() > 0.3 and np.abs(after - before)[inside][:, 1:].mean() < 1
    expected = gray.restore(Compressed(before[..., :1].astype(np.uint8), standard_tables(90)[:1]))[..., 0]
    assert np.abs(after[..., 0] - expected)[inside].mean() < 1
    assert np.abs(expected - before[..., 0])[inside].mean() > 2


def test_cmyk_stays_cmyk_where_the_format_has_it(photo, color, gray):
    inks = np.dstack([photo[:40, :40], photo[40:80, :40, 0]])
    content = stream(inks, "CMYK", quality=80)
    restorer = Restorer([color, gray])
    result = restorer.restore(content)
    read = read_photo(content)
    assert result.mode == "CMYK" and np.abs(np.asarray(result).astype(int) - inks).mean() < 25
    black = gray.restore(Compressed(255 - read.pixels[..., 3:], np.clip(read.tables[3:], 1, 255).astype(np.uint8)))
    assert np.array_equal(np.asarray(result)[..., 3], np.rint(255 - black)[..., 0].astype(np.uint8))
    Path("cmyk.jpg").write_bytes(content)
    for name, mode in (("out.tif", "CMYK"), ("out.jpg", "CMYK"), ("out.png", "RGB"), ("out.webp", "RGB")):
        writing = Writing({"tif": "TIFF", "jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name[4:]])
        assert not restore_file(Path("cmyk.jpg"), Path(name), restorer, writing, threading.Event()).error
        assert Image.open(name).mode == mode


def test_maps_are_anchored_at_the_coded_grid(photo, color):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = photo[:37, :53]
    plain, turned = (Restorer(color).restore(stream(pixels, quality=15, **more)) for more in ({}, {"exif": exif}))
    assert np.array_equal(np.rot90(np.asarray(plain), -1), np.asarray(turned))
    assert Image.open(BytesIO(stream(np.asarray(turned), exif=turned.info["exif"]))).getexif()[0x0112] == 1


def test_a_cropped_pictures_grid_starts_where_its_blocks_do(photo, color):
    read = read_photo(stream(photo[:64, :64], quality=10))
    cropped = Photo(read.pixels[3:, 6:], read.tables, offset=(5, 2))
    restorer = Restorer(color)
    whole, part = (restorer._restore(each, np.float32).pixels for each in (read, cropped))
    assert np.abs(whole[3:, 6:] - part)[24:, 24:].max() < 1e-3
    wrong = restorer._restore(Photo(read.pixels[3:, 6:], read.tables), np.float32).pixels
    assert np.abs(whole[3:, 6:] - wrong)[24:, 24:].max() > 0.1


def test_strength_blends(photo, color):
    content = stream(photo[:40, :40], quality=10)
    none, half, full = (
        Restorer(color, strength=s).restore_picture(content, dtype=np.float32).pixels for s in (0, 0.5, 1)
    )
    assert np.array_equal(none, read_photo(content).pixels)
    assert np.abs(half - (none + full) / 2).max() < 1e-3 and np.abs(full - none).max() > 1


def test_the_self_ensemble_is_the_mean_over_flips_and_rotations(photo, color):
    read = read_photo(stream(photo[:24, :40], quality=10))
    table = np.arange(1, 129, dtype=np.uint8).reshape(2, 8, 8)
    expected = []
    for turns in range(4):
        for mirror in (False, True):
            turned = np.rot90(read.pixels[:, ::-1] if mirror else read.pixels, turns)
            tables = table.swapaxes(1, 2) if turns % 2 else table
            result = np.rot90(color.restore(Compressed(turned.copy(), tables.copy())), -turns)
            expected.append(result[:, ::-1] if mirror else result)
    result = self_ensemble(color, Compressed(read.pixels, table))
    assert np.abs(result - np.mean(expected, 0)).max() < 1e-3
    assert np.abs(result - expected[0]).max() > 0.1
    assert Restorer(color, self_ensemble=True).restore(stream(photo[:13, :21])).size == (21, 13)


def test_the_library_takes_paths_bytes_and_pillow_pictures_in_threads(photo, color, tmp_path):
    contents = [stream(photo[8 * i : 8 * i + 40, :56], quality=10 + 9 * i) for i in range(8)]
    restorer = Restorer(color)
    alone = [np.asarray(restorer.restore(content)) for content in contents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(restorer.restore, contents))
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(alone, together, strict=True))
    (tmp_path / "0.jpg").write_bytes(contents[0])
    for source in (tmp_path / "0.jpg", str(tmp_path / "0.jpg"), Image.open(tmp_path / "0.jpg")):
        assert np.array_equal(np.asarray(restorer.restore(source)), alone[0])
    with pytest.raises(UserError, match="the picture can't be restored: it is empty"):
        restorer.restore(b"")


def test_pictures_without_tables_need_a_quality(call, photo, make_checkpoint, color):
    decoded = read_photo(stream(photo[:40, :56], quality=20)).pixels
    content = stream(decoded, form="PNG")
    with pytest.raises(UserError, match=r"it is a PNG.*--quality"):
        Restorer(color).restore(content)
    expected = np.asarray(Restorer(color).restore(stream(photo[:40, :56], quality=20)))
    assert np.array_equal(np.asarray(Restorer(color, quality=20).restore(content)), expected)
    Path("once").mkdir()
    Path("once/a.png").write_bytes(content)
    done = call("restore", "once", "--quality", 20, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 0 and Path("out/a.png").exists()
    refused(call("restore", "once", "-o", "out2", "--model", make_checkpoint("qmar")), "no image")


def test_alpha_is_kept_and_never_invented(photo, color):
    rgba = np.dstack([photo[:20, :30], photo[:20, :30, 0]])
    result = Restorer(color, quality=50).restore(stream(rgba, form="PNG"))
    assert result.mode == "RGBA" and np.array_equal(np.asarray(result)[..., 3], rgba[..., 3])
    assert Restorer(color).restore(stream(photo[:20, :30])).mode == "RGB"


# ----------------------------------------------------------------------------------------- the program


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
    for inputs in (album, album / "**/*.*"):
        words = ("restore", inputs, "-o", album / "done", "--format", "jpg", *model)
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
        shutil.rmtree("again")
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


def test_patterns(call, album, make_checkpoint):
    model = ("--model", make_checkpoint("qmar"))
    assert "restored 2 of 2" in call("restore", album / "*.jpg", "-o", "one", *model).out
    assert "restored 3 of 3" in call("restore", album / "**" / "*.jpg", "-o", "two", *model).out
    tree = sorted(path.relative_to(album).with_suffix(".png") for path in album.rglob("*.jpg"))
    assert sorted(path.relative_to("two") for path in Path("two").rglob("*.png")) == tree  # of the pattern's folder
    refused(call("restore", album / "*.gif", *model), "*.gif", "does not exist")


def test_resuming_never_takes_another_input_s_result_for_done(call, album, make_checkpoint):
    for place in ("x", "z", "y"):
        (album / place).mkdir()
        shutil.copy(album / "a.jpg", album / place / "same.jpg")
    words = ("-o", "out", "--model", make_checkpoint("qmar"))
    both = (album / "x" / "same.jpg", album / "z" / "same.jpg")
    assert "restored 2 of 2" in call("restore", *both, *words).out
    refused(call("restore", *both, album / "y" / "same.jpg", *words, "--resume"), "'same.jpg'", "--resume", "pattern")
    assert "restored 1 of 1" in call("restore", both[0], both[0], *words, "--resume").out  # one file, named twice
    assert "1 skipped" in call("restore", both[0], both[0], *words, "--resume").out


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


def test_a_folder_that_cannot_be_read_is_told_for_a_pattern_too(call, album, make_checkpoint, monkeypatch):
    scandir = os.scandir

    def refusing(place="."):  # permissions don't bind the superuser
        if os.path.basename(place) == "nested":
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    for inputs in (album, album / "**" / "*.jpg"):
        done = call("restore", inputs, "-o", "out", "--model", make_checkpoint("qmar"))
        refused(done, "nested' can't be read: Permission denied")
    (album / "other").mkdir()
    shutil.copy(album / "a.jpg", album / "other")
    done = call("restore", album / "ot*" / "**" / "*.jpg", "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 0, done.err  # the pattern does not go where it can't read


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions don't bind the superuser")
def test_files_without_permission_are_named(call, album, make_checkpoint):
    (album / "a.jpg").chmod(0)
    done = call("restore", album, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 1 and "restored 3 of 4" in done.out and "Permission denied" in done.err


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["out.png", "out.webp", "out.tif", "out.jpg", "deep.png"])
def test_what_the_photograph_carries_is_carried_over(call, photo, make_checkpoint, name, channels):
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "A maker", 6
    exif[ExifTags.Base.ImageWidth], exif[ExifTags.Base.Compression] = 9999, 6  # of the JPEG, as phones write them
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2020:11:25 12:00:00"}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    icc, xmp = (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
    )
    pixels = photo[:40, :56, 0] if channels == 1 else photo[:40, :56]
    known = {"exif": exif, "icc_profile": icc, "xmp": xmp, "dpi": (300, 300)}
    Path("a.jpg").write_bytes(stream(pixels, quality=40, **known))
    depth = 16 if name == "deep.png" else 8
    done = call("restore", "a.jpg", "-o", name, "--model", make_checkpoint("qmar", channels), "--depth", depth)
    assert done.code == 0, done.err
    with Image.open(name) as image:
        image.load()
        assert image.size == (40, 56)
        read = image.getexif()
        assert read[ExifTags.Base.Make] == "A maker" and read[ExifTags.Base.Orientation] == 1
        assert read.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:11:25 12:00:00"
        assert read.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
        assert image.info["icc_profile"] == icc
        assert image.info["xmp"] == xmp
        if image.format != "WEBP":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"II*\0"])
def test_a_damaged_exif_block_fails_a_tiff_alone(photo, exif):
    picture = output.Picture(photo[:8, :8].copy(), None, Metadata(exif=exif))
    for form in ("PNG", "WEBP", "JPEG"):
        output.write_picture(BytesIO(), picture, form)
    with pytest.raises(ValueError, match="it can't be written as TIFF: its EXIF block is damaged"):
        output.write_picture(BytesIO(), picture, "TIFF")


@pytest.mark.parametrize("xmp", [b"", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"])
def test_a_tiff_without_exif_is_compressed(photo, xmp):
    picture = output.Picture(np.full((64, 64, 3), 7, np.uint8), None, Metadata(xmp=xmp or None))
    file = BytesIO()
    output.write_picture(file, picture, "TIFF")
    image = Image.open(file)
    assert image.info["compression"] == "tiff_adobe_deflate" and image.info.get("xmp", b"") == xmp
    assert (np.asarray(image) == 7).all()


def test_sixteen_bits_hold_what_the_network_says(call, photo, make_checkpoint):
    Path("a.jpg").write_bytes(stream(photo[:40, :56], quality=20))
    path = make_checkpoint("qmar")
    assert call("restore", "a.jpg", "-o", "deep.png", "--model", path, "--depth", 16).code == 0
    exact = Restorer(path)._restore(read_photo(Path("a.jpg").read_bytes()), np.float32).pixels
    content = Path("deep.png").read_bytes()
    assert content[24] == 16  # IHDR's bit depth (PNG, third edition, 11.2.1)
    rows = zlib.decompress(b"".join(chunk for name, chunk in chunks(content) if name == b"IDAT"))
    lines = np.frombuffer(rows, np.uint8).reshape(40, 1 + 56 * 6)
    assert (lines[:, 0] == 2).all()  # each row is the difference to the one above
    pixels = np.cumsum(lines[:, 1:], axis=0, dtype=np.uint8).reshape(40, 56, 3, 2).astype(int) @ [256, 1]
    assert np.abs(pixels / 257 - exact).max() <= 0.5 / 257 + 1e-4


def chunks(content):
    """Name and data of each chunk of a PNG."""
    position = 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4])
        yield content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += length + 12


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_pictures_are_written_in_strips(photo, monkeypatch, channels, alpha):
    icc = b"a profile"
    see_through = photo[:300, :70, 1].copy() if alpha else None
    picture = output.Picture(photo[:300, :70, :channels].copy(), see_through, Metadata(icc=icc, dpi=(300.0, 300.0)))
    written = []
    for limit in (1e9, 100):
        monkeypatch.setattr(output, "_LARGE", limit)
        file = BytesIO()
        output.write_picture(file, picture, "PNG")
        written.append(file)
    plain, strips = map(Image.open, written)
    assert plain.mode == strips.mode and np.array_equal(np.asarray(plain), np.asarray(strips))
    assert strips.info["icc_profile"] == icc and strips.info["dpi"] == plain.info["dpi"]
    assert written[0].getvalue() != written[1].getvalue()
