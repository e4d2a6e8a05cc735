"""The pictures that show images side by side."""

import numpy as np

from qgcn.evaluating.pictures import largest_gain, side_by_side, stack


def test_the_largest_gain_is_found(photo):
    compressed = photo.copy()
    compressed[100:130, 200:240] ^= 15
    restored = compressed.copy()
    restored[110:120, 210:230] = photo[110:120, 210:230]
    left, top, width, height = largest_gain(photo, compressed, restored, (20, 10))
    assert (left, top, width, height) == (210, 110, 20, 10)


def test_the_crop_of_an_image_that_is_smaller_is_all_of_it(photo):
    small = photo[:40, :50]
    assert largest_gain(small, small, small) == (0, 0, 50, 40)


def test_crops_stand_beside_the_image_and_rows_below_each_other(photo):
    gray = photo[:60, :80, :1]
    row = side_by_side(gray, {"JPEG": gray, "QCN": gray}, (8, 16, 40, 32), zoom=2)
    assert row.width >= 4 * 80 and row.height >= 64
    tall = stack([row, row])
    assert tall.size == (row.width, 2 * row.height)
    assert np.array_equal(np.asarray(tall)[: row.height], np.asarray(tall)[row.height :])
