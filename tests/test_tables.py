"""Quantization tables against the JPEG standard, and the maps made of them."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from qgcn.dataset.inputs import quantization_map
from qgcn.jpeg.codec import PillowCodec
from qgcn.jpeg.tables import component_tables, nearest_standard, quantization_tables, rise, standard_tables

# ITU-T T.81, Annex K, tables K.1 and K.2, row by row.
LUMINANCE = """
16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
CHROMINANCE = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""


def typed(text):
    return np.array(text.split(), dtype=np.int64).reshape(8, 8)


def annex_k(text, quality):
    """libjpeg's scaling of an Annex K table to a quality factor, clipped to a byte."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((typed(text) * scale + 50) // 100, 1, 255)


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 95, 100])
def test_tables_are_annex_k_scaled_in_natural_order(photo, quality):
    tables = PillowCodec().compress(photo[:64, :64], quality).tables
    assert tables.dtype == np.uint8 and tables.shape == (2, 8, 8)
    assert (tables[0] == annex_k(LUMINANCE, quality)).all()
    assert (tables[1] == annex_k(CHROMINANCE, quality)).all()


def test_quality_50_is_annex_k_itself(photo):
    tables = PillowCodec().compress(photo[:16, :16], 50).tables
    assert (tables[0] == typed(LUMINANCE)).all() and (tables[1] == typed(CHROMINANCE)).all()


def test_a_gray_file_has_one_table(photo):
    compressed = PillowCodec().compress(photo[:16, :16, :1], 50)
    assert compressed.tables.shape == (1, 8, 8) and compressed.pixels.shape == (16, 16, 1)
    assert (compressed.tables[0] == typed(LUMINANCE)).all()


def test_components_get_the_tables_that_the_frame_header_assigns(photo):
    # Three tables in the file, and one for all components: table numbers, not places, decide.
    stream = BytesIO()
    one, two, three = ([number] * 64 for number in (3, 7, 11))
    Image.fromarray(photo[:32, :32]).save(stream, "JPEG", qtables=[one, two, three])
    with Image.open(stream) as image:
        assert component_tables(image)[:, 0, 0].tolist() == [3, 7, 11]
        assert quantization_tables(image)[:, 0, 0].tolist() == [3, 9]  # the mean of Cb's and Cr's
    stream = BytesIO()
    Image.fromarray(photo[:32, :32]).save(stream, "JPEG", qtables=[one])
    with Image.open(stream) as image:
        assert quantization_tables(image)[:, 0, 0].tolist() == [3, 3]


def test_a_thumbnails_tables_are_not_the_pictures(photo):
    thumbnail, stream = BytesIO(), BytesIO()
    Image.fromarray(photo[:16, :16]).save(thumbnail, "JPEG", quality=5)
    exif = b"Exif\0\0" + thumbnail.getvalue()
    Image.fromarray(photo[:32, :32]).save(stream, "JPEG", quality=50, exif=exif)
    assert stream.getvalue().find(b"\xff\xdb") < stream.getvalue().find(b"\xff\xd9") + 2  # the thumbnail's comes first
    with Image.open(stream) as image:
        assert (quantization_tables(image)[0] == typed(LUMINANCE)).all()


def test_maps_repeat_the_table_from_the_top_left_corner():
    tables = torch.arange(256, dtype=torch.uint8).reshape(2, 2, 8, 8)[:, :, :, :]
    maps = quantization_map(tables, 21, 40)
    assert maps.shape == (2, 2, 21, 40) and maps.dtype == torch.uint8
    for y, x in ((0, 0), (7, 7), (8, 0), (13, 29), (20, 39)):
        assert torch.equal(maps[:, :, y, x], tables[:, :, y % 8, x % 8])


def test_the_codec_names_its_library():
    assert PillowCodec().name.startswith("libjpeg") and "Pillow" in PillowCodec().name


def test_the_nearest_standard_tables():
    assert all(np.array_equal(nearest_standard(standard_tables(q)), standard_tables(q)) for q in (1, 30, 77, 100))
    mixed = np.stack([standard_tables(30)[0], standard_tables(80)[1]])
    assert np.array_equal(nearest_standard(mixed), mixed)
    off = standard_tables(60)[:1].copy()
    off[0, 3, 3] += 16
    assert np.array_equal(nearest_standard(off), standard_tables(60)[:1])
    flat = np.full((1, 8, 8), 60, np.uint8)
    expected = min(range(1, 101), key=lambda q: np.abs(standard_tables(q)[0].astype(int) - 60).sum())
    assert np.array_equal(nearest_standard(flat), standard_tables(expected)[:1])


def test_the_rise_of_a_table_is_in_octaves():
    frequency = np.add.outer(np.arange(8), np.arange(8))
    assert rise(np.stack([np.full((8, 8), 7), np.where(frequency >= 6, 40, 10)])) == pytest.approx([0, 2])
    luma, chroma = rise(standard_tables(50))
    assert 1.5 < luma < 3 and 0.5 < chroma < 2
