"""Which network restores which components of a photo, and which tables it is told."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from restoring import encoded, near_identity

from qgcn.dataset.degradation import luma
from qgcn.jpeg.codec import Compressed, write_jpeg
from qgcn.jpeg.color import LUMA
from qgcn.jpeg.reader import read_photo
from qgcn.jpeg.tables import nearest_standard, network_tables, rise, standard_tables
from qgcn.restoring.components import Components, is_gray, self_ensemble
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.tiles import to_bytes
from qgcn.utils.image import to_pillow


@pytest.fixture(scope="module")
def color():
    return near_identity("qmar", 3, "real")


@pytest.fixture(scope="module")
def gray():
    return near_identity("qmar", 1, "real")


def of(*models):
    return {model.channels: model for model in models}


# ------------------------------------------------------------------------------------- R = G = B


@pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])
def test_colour_without_colour_is_restored_as_gray_and_stays_without(photo, color, gray, sampling):
    pixels = np.repeat(luma(photo[:48, :56]), 3, 2)
    content = encoded(pixels, quality=10, subsampling=sampling)
    read = read_photo(content)
    expected = gray.restore(Compressed(read.pixels[..., :1].copy(), standard_tables(10)[:1]))
    for dtype in (np.uint8, np.float32):
        found = Restorer([color, gray]).restore_picture(content, dtype=dtype).pixels
        assert found.dtype == dtype and found.shape == (48, 56, 3) and not np.ptp(found, axis=2).any()
        assert np.abs(found[..., :1] - expected).max() <= (0.5 if dtype == np.uint8 else 1e-4)
    alone = Restorer(color).restore_picture(content).pixels  # no gray network: gray through the colour one
    assert not np.ptp(alone, axis=2).any()


def test_one_level_of_chroma_is_no_colour_and_two_are():
    flat = Image.new("YCbCr", (16, 16), (100, 128, 128))
    for chroma, expected in (((128, 128), True), ((127, 128), True), ((128, 129), True), ((125, 128), False)):
        pixels = np.array(Image.merge("YCbCr", [flat.getchannel(0), *(Image.new("L", (16, 16), c) for c in chroma)]))
        rgb = np.array(Image.fromarray(pixels, "YCbCr").convert("RGB"))
        assert is_gray(rgb) is expected
    for blue, expected in ((92, True), (93, False)):
        mostly = np.full((600, 8, 3), 90, np.uint8)
        mostly[599, 7] = 90, 90, blue
        assert is_gray(mostly) is expected


# ------------------------------------------------------------------------------------- R, G and B coded


def test_components_coded_as_colours_go_through_the_gray_network_with_their_own_tables(photo, color, gray):
    read = read_photo(encoded(photo[:40, :48], quality=50, keep_rgb=True, subsampling=0))
    assert not read.transformed and read_photo(encoded(photo[:40, :48])).transformed
    opened = Image.open(BytesIO(encoded(photo[:40, :48], quality=50, keep_rgb=True, subsampling=0)))
    assert not read_photo(opened).transformed and read_photo(Image.open(BytesIO(encoded(photo[:40, :48])))).transformed
    tables = np.stack([np.full((8, 8), step, np.uint16) for step in (10, 30, 60)])
    photo_read = replace(read, tables=tables)
    found = Components(photo_read, of(color, gray)).restore()
    for number in range(3):
        plane = np.ascontiguousarray(read.pixels[..., [number]])
        assert np.allclose(found[..., [number]], gray.restore(Compressed(plane, tables[[number]].astype(np.uint8))))
    alone = Components(photo_read, of(color)).restore()
    plane = np.repeat(read.pixels[..., :1], 3, 2)
    through = color.restore(Compressed(plane, np.repeat(tables[:1], 2, 0).astype(np.uint8))) @ LUMA
    assert np.allclose(alone[..., 0], through)


def test_inks_coded_as_they_are_go_through_the_gray_network_and_transformed_ones_as_colour(photo, color, gray):
    inks = np.dstack([photo[:40, :48], photo[:40, :48, 1]])
    stream = BytesIO()
    tables = [[step] * 64 for step in (10, 30, 60, 90)]
    Image.fromarray(inks, "CMYK").save(stream, "JPEG", qtables=tables)
    for read in (read_photo(stream.getvalue()), read_photo(Image.open(stream))):
        read = replace(read, tables=np.array(tables, np.uint16).reshape(4, 8, 8))
        assert not read.transformed and read.pixels.shape == (40, 48, 4)
        found = Components(read, of(color, gray)).restore()
        for number in range(4):
            plane = np.ascontiguousarray(255 - read.pixels[..., [number]])
            expected = gray.restore(Compressed(plane, read.tables[[number]].astype(np.uint8)))
            assert np.allclose(255 - found[..., [number]], expected, atol=1e-3)
    adobe = stream.getvalue().index(b"Adobe")
    ycck = bytearray(stream.getvalue())
    ycck[adobe + 11] = 2  # the transform
    read = read_photo(bytes(ycck))
    assert read.transformed
    light, told = 255 - read.pixels, network_tables(read.tables[:3])
    found = Components(read, of(color, gray)).restore()
    expected = color.restore(Compressed(light[..., :3].copy(), told))
    assert np.allclose(255 - found[..., :3], expected, atol=1e-3)
    last = Compressed(light[..., 3:].copy(), read.tables[3:].astype(np.uint8))
    assert np.allclose(255 - found[..., 3:], gray.restore(last), atol=1e-3)


# ------------------------------------------------------------------------------------- nothing to restore


def test_files_whose_steps_are_1_or_2_are_left_as_they_are_and_said_so(photo, color, gray, call, make_checkpoint):
    for pixels in (photo[:40, :48], photo[:40, :48, 0]):
        content = encoded(pixels, quality=100)
        picture = Restorer([color, gray]).restore_picture(content)
        assert np.array_equal(picture.pixels.squeeze(), np.asarray(Image.open(BytesIO(content))))
        assert picture.warning == "left as it is: no quantization step is over 2"
        wide = Restorer([color, gray]).restore_picture(content, dtype=np.uint16)
        assert np.array_equal(wide.pixels, picture.pixels.astype(np.uint16) * 257)
        floats = Restorer([color, gray], self_ensemble=True).restore_picture(content, dtype=np.float32)
        assert np.array_equal(floats.pixels, picture.pixels)
    Path("fine.jpg").write_bytes(encoded(photo[:40, :48], quality=100))
    done = call("restore", "fine.jpg", "-o", "out.png", "--model", make_checkpoint("qmar"))
    assert done.code == 0 and "restored 1 of 1 files (0 skipped, 0 failed)" in done.out
    assert "'fine.jpg': left as it is" in done.err
    assert np.array_equal(np.asarray(Image.open("out.png")), np.asarray(Image.open("fine.jpg")))


@pytest.mark.parametrize(("step", "left"), [(2, True), (3, False)])
def test_one_step_of_3_is_enough_to_be_restored(photo, gray, step, left):
    tables = np.ones((1, 8, 8), int)
    tables[0, 7, 7] = step
    content = write_jpeg(to_pillow(photo[:40, :48, :1]), tables)
    picture = Restorer([gray]).restore_picture(content, dtype=np.float32)
    assert bool(picture.warning) is left
    assert np.array_equal(picture.pixels.squeeze(), np.asarray(Image.open(BytesIO(content)))) is left


def test_what_is_left_as_it_is_is_not_projected_either(photo, color, gray):
    pytest.importorskip("jpeglib", reason="the optional package jpeglib is not installed")
    inks = BytesIO()
    Image.fromarray(np.dstack([photo[:40, :48], photo[:40, :48, 1]]), "CMYK").save(inks, "JPEG", quality=100)
    for content in (encoded(photo[:40, :48], quality=100), inks.getvalue()):
        picture = Restorer([color, gray], project=True).restore_picture(content)
        assert np.array_equal(picture.pixels, np.asarray(Image.open(BytesIO(content))))


# ------------------------------------------------------------------------------------- what networks are told


def test_networks_of_standard_tables_are_told_the_nearest_where_others_mislead_them(photo, color, gray):
    flat = np.full((2, 8, 8), 20)
    content = write_jpeg(to_pillow(np.ascontiguousarray(photo[:48, :56])), flat)
    read = read_photo(content)
    standard = replace(color, degradation="published")
    found = Restorer([standard, gray]).restore_picture(content)
    nearest = np.stack([
        min((standard_tables(q)[kind] for q in range(1, 101)), key=lambda t: np.abs(t.astype(int) - 20).sum())
        for kind in range(2)
    ])  # fmt: skip
    assert np.array_equal(found.pixels, to_bytes(color.restore(Compressed(read.pixels.copy(), nearest))))
    assert "told the nearest standard ones" in found.warning
    own = Restorer([color, gray]).restore_picture(content)
    assert np.array_equal(own.pixels, to_bytes(color.restore(Compressed(read.pixels.copy(), flat.astype(np.uint8)))))
    assert not own.warning and not np.array_equal(own.pixels, found.pixels)


@pytest.mark.parametrize(("flatter", "own"), [(1.4, True), (1.6, False)])
def test_tables_may_be_flatter_by_one_and_a_half_octaves(photo, gray, flatter, own):
    frequency = np.add.outer(np.arange(8), np.arange(8)) / 8
    tilted = [np.rint(standard_tables(50)[:1] * 2.0 ** (-tilt * frequency)) for tilt in np.linspace(0.5, 4, 200)]
    tilted = [tables.clip(1, 255).astype(np.uint8) for tables in tilted]
    apart = [abs(rise(nearest_standard(tables))[0] - rise(tables)[0] - flatter) for tables in tilted]
    tables = tilted[np.argmin(apart)]
    assert min(apart) < 0.08
    read = read_photo(write_jpeg(to_pillow(photo[:40, :48, :1]), tables))
    components = Components(read, of(replace(gray, degradation="published")))
    told = tables if own else nearest_standard(tables)
    assert np.array_equal(components.restore(), gray.restore(Compressed(read.pixels.copy(), told)))


@pytest.mark.parametrize("power", [0, 0.7, 1.3])
def test_tables_that_are_steeper_or_a_little_flatter_are_told_as_they_are(photo, gray, power):
    standard = replace(gray, degradation="published")
    tables = np.rint(16 * (standard_tables(50)[:1] / 16) ** power).astype(int) if power else standard_tables(50)[:1] + 1
    read = read_photo(write_jpeg(to_pillow(photo[:40, :48, :1]), tables))
    components = Components(read, of(standard))
    expected = gray.restore(Compressed(read.pixels.copy(), tables.astype(np.uint8)))
    assert np.array_equal(components.restore(), expected) and not components.notes


def test_a_third_table_and_large_steps_are_told_as_well_as_they_can_be(photo, color):
    tables = np.stack([np.full((8, 8), step) for step in (40, 100, 301)])
    read = read_photo(write_jpeg(to_pillow(np.ascontiguousarray(photo[:48, :56])), tables, "4:4:4"))
    assert np.array_equal(read.tables, tables)
    told = np.stack([np.full((8, 8), step, np.uint8) for step in (40, 200)])
    assert np.array_equal(network_tables(read.tables), told)
    components = Components(read, of(color))
    assert np.array_equal(components.restore(), color.restore(Compressed(read.pixels.copy(), told)))
    assert components.notes == ["its quantization steps, up to 301, are taken as 255 at most"]


@pytest.mark.parametrize(("sampling", "reduction"), [("4:4:4", (1, 1)), ("4:2:2", (1, 2)), ("4:2:0", (2, 2))])
def test_qcn_plus_is_told_how_chroma_was_sampled(photo, sampling, reduction):
    plus = near_identity("qmar_plus", 3, "real")
    content = encoded(photo[:40, :48], quality=30, subsampling=sampling)
    read = read_photo(content)
    assert read.reduction == reduction == read_photo(Image.open(BytesIO(content))).reduction
    found = {
        told: plus.restore(Compressed(read.pixels.copy(), standard_tables(30), told))
        for told in ((1, 1), (1, 2), (2, 2))
    }
    assert np.array_equal(Components(read, of(plus)).restore(), found[reduction])
    assert len({pixels.tobytes() for pixels in found.values()}) == 3


def test_the_self_ensemble_turns_the_sampling_with_the_picture(photo):
    plus = near_identity("qmar_plus", 3, "real")
    pixels = np.ascontiguousarray(photo[:24, :40])
    expected = []
    for turns in range(4):
        for mirror in (False, True):
            turned = np.rot90(pixels[:, ::-1] if mirror else pixels, turns)
            tables = standard_tables(20).swapaxes(1, 2) if turns % 2 else standard_tables(20)
            told = (2, 1) if turns % 2 else (1, 2)
            result = np.rot90(plus.restore(Compressed(turned.copy(), tables.copy(), told)), -turns)
            expected.append(result[:, ::-1] if mirror else result)
    result = self_ensemble(plus, Compressed(pixels, standard_tables(20), (1, 2)))
    assert np.abs(result - np.mean(expected, 0)).max() < 1e-3
