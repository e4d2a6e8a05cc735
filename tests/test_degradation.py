"""How crops become JPEGs like those that people have."""

from collections import Counter

import numpy as np
import pytest
from conftest import many
from numpy.random import Generator, Philox, default_rng

from qgcn.dataset.degradation import (
    SAMPLING,
    FamilyCodec,
    Published,
    Real,
    build_degradation,
    check_degradation,
    draw_quality,
    luma,
    to_gray,
)
from qgcn.dataset.pages import BOLD, HARD_EDGES, PAGES, SIDE, _page, written
from qgcn.evaluating.metrics import psnr
from qgcn.jpeg.codec import SUBSAMPLING, PillowCodec, jpeg_round_trip, write_jpeg
from qgcn.jpeg.color import LUMA
from qgcn.jpeg.markers import read_structure
from qgcn.jpeg.random_tables import choose
from qgcn.jpeg.tables import network_tables, standard_tables
from qgcn.utils.errors import UserError
from qgcn.utils.image import luminance, to_pillow


@pytest.fixture
def crop(photo):
    return np.ascontiguousarray(photo[100:164, 150:214])


# ------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("quality", [5, 50, 95])
def test_standard_tables_at_420_are_the_published_degradation(crop, quality):
    for pixels in (crop, crop[..., :1]):
        expected = PillowCodec().compress(pixels, quality)
        assert np.array_equal(jpeg_round_trip(pixels, standard_tables(quality)), expected.pixels)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_file_has_the_tables_and_the_sampling_that_are_asked_for(crop, count):
    tables = np.arange(1, 1 + 64 * count).reshape(count, 8, 8)  # no two steps alike: an order would show
    factors = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}
    for sampling, expected in factors.items():
        structure = read_structure(write_jpeg(to_pillow(crop), tables, sampling))
        assert np.array_equal(structure.tables, tables[[0, min(1, count - 1), count - 1]])
        assert structure.components[0][1:3] == expected and structure.components[1][1:3] == (1, 1)


def test_440_halves_the_rows_of_chroma_alone(crop):
    red_and_blue = np.zeros((64, 64, 3), np.uint8)
    red_and_blue[::2, :, 0] = red_and_blue[1::2, :, 2] = 255
    fine = np.ones((2, 8, 8), int)
    kept = {
        (sampling, turned): psnr(jpeg_round_trip(stripes, fine, sampling), stripes) > 40
        for sampling in SAMPLING
        for turned, stripes in ((False, red_and_blue), (True, np.ascontiguousarray(red_and_blue.swapaxes(0, 1))))
    }
    assert kept == {
        ("4:4:4", False): True, ("4:4:4", True): True, ("4:2:0", False): False, ("4:2:0", True): False,
        ("4:4:0", False): False, ("4:4:0", True): True, ("4:2:2", False): True, ("4:2:2", True): False,
    }  # fmt: skip
    rising = np.arange(128).reshape(2, 8, 8) % 64 + 1
    turned = jpeg_round_trip(np.ascontiguousarray(crop.swapaxes(0, 1)), rising.swapaxes(1, 2), "4:2:2")
    assert np.array_equal(jpeg_round_trip(crop, rising, "4:4:0"), turned.swapaxes(0, 1))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(("sampling", "down", "across"), [("4:2:0", 2, 2), ("4:2:2", 1, 2), ("4:4:0", 2, 1)])
def test_simple_chroma_repeats_samples(sampling, down, across, count):
    squares = default_rng(0).integers(40, 216, (64 // down, 64 // across, 3), np.uint8)
    truth = squares.repeat(down, 0).repeat(across, 1)  # of which reduced chroma loses nothing
    fine = np.ones((count, 8, 8), int)
    assert psnr(jpeg_round_trip(truth, fine, sampling, simple_chroma=True), truth) > 48
    assert psnr(jpeg_round_trip(truth, fine, sampling), truth) < 30


def test_simple_chroma_is_as_near_as_that_of_libjpeg_without_interpolation(photo, tmp_path):
    jpeglib = pytest.importorskip("jpeglib", reason="the optional package jpeglib is not installed")
    crop = np.ascontiguousarray(photo[100:228, 150:278])
    for quality in (10, 50, 95, 100):
        tables = standard_tables(quality)
        (tmp_path / "a.jpg").write_bytes(write_jpeg(to_pillow(crop), tables))
        jpeglib.version.set("turbo210")
        simple = jpeglib.read_spatial(str(tmp_path / "a.jpg"), flags=["-DO_FANCY_UPSAMPLING"]).spatial
        ours = jpeg_round_trip(crop, tables, simple_chroma=True)
        assert abs(psnr(ours, crop) - psnr(np.array(simple), crop)) < 0.06


# ------------------------------------------------------------------------------------------------ samples


def test_shares_are_kept():
    drawn = Counter(many(lambda random: choose(random, SAMPLING), 3000))
    for name, share in SAMPLING.items():
        assert abs(drawn[name] / 3000 - share) < 4 * (share * (1 - share) / 3000) ** 0.5
    assert sum(SAMPLING.values()) == 1


def test_good_qualities_are_drawn_more_often():
    drawn = np.array(many(lambda random: draw_quality(random, (1, 100)), 3000))
    assert drawn.min() <= 2 and drawn.max() == 100
    assert abs(np.mean(drawn >= 80) - (0.25 + 0.75 * 0.21)) < 0.04
    assert set(many(lambda random: draw_quality(random, (30, 30)), 20)) == {30}


def test_a_sample_is_its_ground_truth_compressed(crop):
    real = Real((10, 90), "RGB")
    kinds, reductions, simple = Counter(), set(), 0
    for index in range(400):
        drawn = real.draw(crop, 0, Philox(key=index))
        simple += drawn[3]
        pixels, tables, reduction, truth = real.compress(*drawn)
        reductions.add(tuple(reduction.tolist()))
        assert pixels.shape == truth.shape == crop.shape and tables.shape == (2, 8, 8) and psnr(pixels, truth) > 15
        known = {"as it is": crop, "R = G = B": np.repeat(luma(crop), 3, axis=2)}
        kinds[next((kind for kind, pixels in known.items() if np.array_equal(pixels, truth)), "written")] += 1
    assert 1 <= kinds["R = G = B"] <= 20 and 6 <= kinds["written"] <= 32 and kinds["as it is"] > 340
    assert reductions == set(SUBSAMPLING.values()) and 24 <= simple <= 56


def test_gray_samples_have_the_table_of_luma(crop):
    gray, color = Real((10, 90), "L"), Real((10, 90), "RGB")
    for index in range(40):
        tables = gray.draw(crop, 0, Philox(key=index))[1]
        assert np.array_equal(tables, color.draw(crop, 0, Philox(key=index))[1][:1])


def test_a_written_page_has_ink_and_paper(crop):
    plain = on_picture = 0
    for seed in range(200):
        page = written(default_rng(seed), crop, "L")
        assert page.shape == crop.shape and page.dtype == np.uint8
        assert np.array_equal(page, written(default_rng(seed), crop, "L"))
        levels, counts = np.unique(page.reshape(-1, 3), axis=0, return_counts=True)
        if (
            counts.max() > 0.3 * len(page) ** 2
            and (levels[counts.argmax()] == 255).all()
            and not np.ptp(levels, 1).any()
        ):
            plain += 1
            assert levels.min() < 64 or (levels == 255).all()  # ink, or a piece between lines
        on_picture += np.mean((page == crop).all(2)) > 0.3
    assert 30 <= plain <= 75 and 15 <= on_picture <= 45


def test_pages_have_hard_and_smooth_edges_small_and_large_letters_lines_and_boxes():
    pages = [_page(number) for number in range(PAGES)]
    hard = np.mean([set(np.unique(page).tolist()) == {0, 255} for page in pages])
    assert HARD_EDGES * (1 - BOLD) - 0.1 < hard < HARD_EDGES
    rules = np.mean([(page[:, :32] == 255).all(1).any() or (page == 255).all(1).any() for page in pages])
    assert 0 < rules < 0.5 and len({page.tobytes() for page in pages}) == PAGES
    changes = [np.mean(page[:, 1:] != page[:, :-1]) for page in pages]  # small letters have more edges
    assert min(changes) < 0.08 and max(changes) > 0.3


@pytest.mark.parametrize("side", [SIDE, SIDE + 8, 3 * SIDE])
def test_pages_go_on_as_far_as_a_crop_does(side):
    pages = [written(default_rng(seed), np.zeros((side, side, 3), np.uint8), "RGB") for seed in range(8)]
    assert all(page.shape == (side, side, 3) for page in pages)
    assert all(np.ptp(page[-64:, -64:]) > 0 for page in pages if np.ptp(page[:64, :64]) > 0)


def test_a_third_table_is_told_as_the_mean_of_both():
    tables = np.stack([np.full((8, 8), step) for step in (3, 10, 21)])
    assert np.array_equal(network_tables(tables), np.stack([np.full((8, 8), step) for step in (3, 16)]))
    assert np.array_equal(network_tables(tables[[0, 1, 1]]), tables[:2])


def test_gray_has_both_ranges(photo):
    white = np.full((64, 64, 3), 255, np.uint8)
    gray = Real((60, 100), "L")
    brightest = lambda index: gray.compress(*gray.draw(white, 0, Philox(key=index))).ground_truth.max()  # noqa: E731
    levels = Counter(int(brightest(index)) for index in range(200))
    assert 70 < levels[235] < 130 and levels[235] + levels[255] > 190  # but for written pages
    ranges = {to_gray(Generator(Philox(key=index)), photo).tobytes() for index in range(20)}
    assert len(ranges) == 2 and luma(photo).tobytes() in ranges
    studio = np.frombuffer((ranges - {luma(photo).tobytes()}).pop(), np.uint8).reshape(512, 512)
    assert np.abs(studio.astype(int) - luminance(photo)).max() <= 1
    assert np.mean(studio != luminance(photo)) < 0.01
    assert np.mean(luma(photo)[..., 0] != np.rint(photo @ LUMA)) < 0.001  # but for ties


def test_validation_on_a_family_has_tables_of_that_family(photo):
    known = {standard_tables(quality)[0].tobytes() for quality in range(1, 101)}
    crops = [photo[top : top + 16, left : left + 16] for top in range(0, 160, 16) for left in range(0, 160, 16)]
    for family, least, most in (("standard", 0.7, 0.9), ("random", 0, 0.05)):
        codec = FamilyCodec(family, (10, 90))
        own = np.mean([codec.compress(crop, 10).tables[0].tobytes() in known for crop in crops])
        assert least <= own <= most


def test_validation_compresses_a_picture_always_alike(photo):
    codec = FamilyCodec("random", (10, 90))
    first, second = (codec.compress(photo[:64, :64], quality) for quality in (10, 90))
    assert np.array_equal(first.pixels, second.pixels) and np.array_equal(first.tables, second.tables)
    assert not np.array_equal(first.tables, codec.compress(photo[64:128, :64], 10).tables)
    assert first.reduction in SUBSAMPLING.values()
    gray = codec.compress(np.ascontiguousarray(photo[:64, :64, :1]), 10)
    assert gray.pixels.shape == (64, 64, 1) and gray.tables.shape == (1, 8, 8)


def test_names(crop):
    how = {"qualities": (1, 60), "mode": "RGB", "codec": "pillow"}
    assert isinstance(build_degradation("published", **how), Published)
    assert isinstance(build_degradation("real", **how), Real)
    with pytest.raises(UserError, match="'rael' is unknown: choose from published, real"):
        build_degradation("rael", **how)
    with pytest.raises(UserError, match="--valid_degradation '' is unknown"):
        check_degradation("", "--valid_degradation")
    with pytest.raises(UserError, match=r"not IJG libjpeg .*: leave --codec out"):
        build_degradation("real", **how | {"codec": "ijg9"})
