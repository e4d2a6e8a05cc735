"""Restoring one JPEG as a library does: which network, which pixels."""

from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from PIL import Image
from restoring import encoded, near_identity

from qgcn.jpeg.codec import Compressed
from qgcn.jpeg.reader import Photo, read_photo
from qgcn.jpeg.tables import standard_tables
from qgcn.restoring.components import self_ensemble
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.tiles import to_bytes
from qgcn.utils.errors import UserError


@pytest.fixture(scope="module")
def color():
    return near_identity("qmar", 3)


@pytest.fixture(scope="module")
def gray():
    return near_identity("qmar", 1)


def test_the_best_shipped_networks_are_taken(monkeypatch):
    seen = []

    def load(path, *_, **__):
        seen.append(path.name)
        return Namespace(channels=3 if "rgb" in path.name else 1)

    monkeypatch.setattr("qgcn.restoring.restorer.load_model", load)
    Restorer()
    assert seen == ["qcn_plus_rgb.pth", "qcn_plus_gray.pth"]


def test_each_file_goes_to_its_own_network(photo, color, gray):
    both = Restorer([gray, color])
    for pixels, model in ((photo[:40, :56], color), (photo[:40, :56, 0], gray)):
        content = encoded(pixels, quality=20)
        read = read_photo(content)
        tables = standard_tables(20)[: 2 if model is color else 1]
        expected = to_bytes(model.restore(Compressed(read.pixels, tables)))
        assert np.array_equal(np.asarray(both.restore(content)).reshape(expected.shape), expected)
    with pytest.raises(UserError, match="both for colour"):
        Restorer([color, near_identity("edsr", 3)])


@pytest.mark.parametrize("wrong", [{"quality": 0}, {"quality": 200}, {"strength": 3.0}, {"memory": -1.0}])
def test_numbers_out_of_their_range_are_told(color, wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{name} {value} is not a number from"):
        Restorer(color, **wrong)


def test_gray_goes_through_a_color_network_alone(photo, color):
    content = encoded(photo[:40, :56, 0], quality=20)
    read = read_photo(content)
    tables = np.repeat(standard_tables(20)[:1], 2, 0)
    expected = color.restore(Compressed(np.repeat(read.pixels, 3, 2), tables)) @ np.float32([0.299, 0.587, 0.114])
    result = Restorer(color).restore(content)
    assert result.mode == "L" and np.array_equal(np.asarray(result), np.rint(expected).astype(np.uint8))


def test_a_gray_network_alone_restores_the_luma_of_color(photo, gray):
    # gray pixels in an RGB file have a chroma of zero before and after
    content = encoded(photo[:40, :56], quality=90, subsampling=0)
    before = np.asarray(Image.fromarray(read_photo(content).pixels).convert("YCbCr")).astype(int)
    after = np.asarray(Restorer(gray).restore(content).convert("YCbCr")).astype(int)
    inside = (after[..., 0] > 30) & (after[..., 0] < 225) & (before[..., 0] > 30) & (before[..., 0] < 225)
    assert inside.mean() > 0.3 and np.abs(after - before)[inside][:, 1:].mean() < 1
    expected = gray.restore(Compressed(before[..., :1].astype(np.uint8), standard_tables(90)[:1]))[..., 0]
    assert np.abs(after[..., 0] - expected)[inside].mean() < 1
    assert np.abs(expected - before[..., 0])[inside].mean() > 2


def test_cmyk_stays_cmyk(photo, color, gray):
    inks = np.dstack([photo[:40, :40], photo[40:80, :40, 0]])
    content = encoded(inks, "CMYK", quality=80)
    restorer = Restorer([color, gray])
    result = restorer.restore(content)
    read = read_photo(content)
    assert result.mode == "CMYK" and np.abs(np.asarray(result).astype(int) - inks).mean() < 25
    black = gray.restore(Compressed(255 - read.pixels[..., 3:], np.clip(read.tables[3:], 1, 255).astype(np.uint8)))
    assert np.array_equal(np.asarray(result)[..., 3], np.rint(255 - black)[..., 0].astype(np.uint8))


def test_maps_are_anchored_at_the_coded_grid(photo, color):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = photo[:37, :53]
    plain, turned = (Restorer(color).restore(encoded(pixels, quality=15, **more)) for more in ({}, {"exif": exif}))
    assert np.array_equal(np.rot90(np.asarray(plain), -1), np.asarray(turned))
    assert Image.open(BytesIO(encoded(np.asarray(turned), exif=turned.info["exif"]))).getexif()[0x0112] == 1


def test_a_cropped_pictures_grid_starts_where_its_blocks_do(photo, color):
    read = read_photo(encoded(photo[:64, :64], quality=10))
    cropped = Photo(read.pixels[3:, 6:], read.tables, offset=(5, 2))
    restorer = Restorer(color)
    whole, part = (restorer.restore_photo(each, dtype=np.float32).pixels for each in (read, cropped))
    assert np.abs(whole[3:, 6:] - part)[24:, 24:].max() < 1e-3
    wrong = restorer.restore_photo(Photo(read.pixels[3:, 6:], read.tables), dtype=np.float32).pixels
    assert np.abs(whole[3:, 6:] - wrong)[24:, 24:].max() > 0.1


def test_strength_blends(photo, color):
    content = encoded(photo[:40, :40], quality=10)
    none, half, full = (
        Restorer(color, strength=s).restore_picture(content, dtype=np.float32).pixels for s in (0, 0.5, 1)
    )
    assert np.array_equal(none, read_photo(content).pixels)
    assert np.abs(half - (none + full) / 2).max() < 1e-3 and np.abs(full - none).max() > 1


def test_the_self_ensemble_is_the_mean_over_flips_and_rotations(photo, color):
    read = read_photo(encoded(photo[:24, :40], quality=10))
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
    assert Restorer(color, self_ensemble=True).restore(encoded(photo[:13, :21])).size == (21, 13)


def test_the_library_takes_paths_bytes_and_pillow_pictures_in_threads(photo, color, tmp_path):
    contents = [encoded(photo[8 * i : 8 * i + 40, :56], quality=10 + 9 * i) for i in range(8)]
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
    decoded = read_photo(encoded(photo[:40, :56], quality=20)).pixels
    content = encoded(decoded, form="PNG")
    with pytest.raises(UserError, match=r"it is a PNG.*--quality"):
        Restorer(color).restore(content)
    expected = np.asarray(Restorer(color).restore(encoded(photo[:40, :56], quality=20)))
    assert np.array_equal(np.asarray(Restorer(color, quality=20).restore(content)), expected)
    Path("once").mkdir()
    Path("once/a.png").write_bytes(content)
    done = call("restore", "once", "--quality", 20, "-o", "out", "--model", make_checkpoint("qmar"))
    assert done.code == 0 and Path("out/a.png").exists()
    refused(call("restore", "once", "-o", "out2", "--model", make_checkpoint("qmar")), "no image")


def test_alpha_is_kept_and_never_invented(photo, color):
    rgba = np.dstack([photo[:20, :30], photo[:20, :30, 0]])
    result = Restorer(color, quality=50).restore(encoded(rgba, form="PNG"))
    assert result.mode == "RGBA" and np.array_equal(np.asarray(result)[..., 3], rgba[..., 3])
    assert Restorer(color).restore(encoded(photo[:20, :30])).mode == "RGB"
