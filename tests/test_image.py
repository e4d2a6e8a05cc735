"""Image files of every kind become the pixels that a user expects."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qgcn.utils.errors import UserError, is_out_of_memory
from qgcn.utils.exif import turn
from qgcn.utils.image import image_files, load_image, luminance, output_names, pad_to_multiple, save_png


def written(tmp_path, image, name="image.png", **keywords):
    image.save(tmp_path / name, **keywords)
    return tmp_path / name


def test_luminance_is_matlabs():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 200, 90]]], np.uint8)
    # rgb2ycbcr of MATLAB (ITU-R BT.601): 16 + (65.481 R + 128.553 G + 24.966 B) / 255, rounded.
    expected = [round(16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255) for r, g, b in colours[0].tolist()]
    assert (
        luminance(colours).tolist()
        == [expected]
        == [[16, 235, 81, 145, 41, round(16 + (654.81 + 25710.6 + 2246.94) / 255)]]
    )


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_lossless_formats_give_the_pixels(tmp_path, photo, suffix, mode):
    path = written(
        tmp_path,
        Image.fromarray(photo[:20, :30]),
        f"image{suffix}",
        **({"lossless": True} if suffix == ".webp" else {}),
    )
    pixels = load_image(path, mode)
    expected = photo[:20, :30] if mode == "RGB" else luminance(photo[:20, :30])[..., None]
    assert pixels.dtype == np.uint8 and np.array_equal(pixels, expected)


def test_gray_images_are_repeated_in_colour_and_kept_in_gray(tmp_path, photo):
    gray = photo[:20, :30, 0]
    path = written(tmp_path, Image.fromarray(gray))
    assert np.array_equal(load_image(path, "RGB"), np.repeat(gray[..., None], 3, 2))
    assert np.array_equal(load_image(path, "L")[..., 0], gray)


def test_palettes_are_looked_up(tmp_path):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 90])
    assert (load_image(written(tmp_path, image), "RGB") == (10, 200, 90)).all()
    path = written(tmp_path, image, "transparent.png", transparency=1)
    assert (load_image(path, "RGB") == 255).all()


def test_transparency_lies_over_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (200, 100, 0, 255)
    rgba[0, 1] = (0, 0, 0, 51)
    pixels = load_image(written(tmp_path, Image.fromarray(rgba)), "RGB")
    assert pixels.tolist() == [[[200, 100, 0], [204, 204, 204]], [[255, 255, 255], [255, 255, 255]]]
    la = np.array([[[100, 255], [0, 0]]], np.uint8)
    assert load_image(written(tmp_path, Image.fromarray(la)), "L").tolist() == [[[100], [255]]]


def test_16_bit_samples_are_scaled(tmp_path):
    wide = np.array([[0, 257, 128 * 257 + 100, 65535]], np.uint16)
    for name in ("image.png", "image.tif"):
        assert load_image(written(tmp_path, Image.fromarray(wide), name), "L").ravel().tolist() == [0, 1, 128, 255]


def test_bilevel_and_cmyk_images_are_converted(tmp_path):
    assert load_image(written(tmp_path, Image.new("1", (3, 3), 1)), "RGB").min() == 255
    cmyk = written(tmp_path, Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "image.tif")
    assert load_image(cmyk, "RGB").min() == 255


def test_samples_without_a_known_range_are_refused(tmp_path):
    for image in (Image.fromarray(np.ones((2, 2), np.float32)), Image.fromarray(np.full((2, 2), 70000, np.int32))):
        with pytest.raises(UserError, match=r"image\.tif' can't be read: its .* samples have no known range"):
            load_image(written(tmp_path, image, "image.tif"), "RGB")


def test_orientation_is_applied(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    path = written(tmp_path, Image.fromarray(photo[:20, :30]), exif=exif)
    assert np.array_equal(load_image(path, "RGB"), np.rot90(photo[:20, :30], -1))


def test_files_that_are_no_images_are_named(tmp_path):
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(UserError, match=r"text\.png' can't be read: it is in no format"):
        load_image(tmp_path / "text.png", "RGB")
    with pytest.raises(UserError, match=r"none\.png' does not exist"):
        load_image(tmp_path / "none.png", "RGB")


def test_folders_are_searched_to_the_bottom_once(folder_of_photos):
    (folder_of_photos / "nested" / "loop").symlink_to(folder_of_photos)
    (folder_of_photos / ".hidden.png").write_bytes(b"")
    (folder_of_photos / "notes.txt").write_text("no image")
    names = [file.relative_to(folder_of_photos).as_posix() for file in image_files(folder_of_photos)]
    assert names == ["0.png", "1.png", "2.png", "3.png", "nested/4.png", "nested/5.png"]


def test_padding_repeats_the_edge(photo):
    padded = pad_to_multiple(photo[:21, :40], 8)
    assert padded.shape == (24, 40, 3) and np.array_equal(padded[:21], photo[:21, :40])
    assert all(np.array_equal(row, photo[20, :40]) for row in padded[21:])
    assert pad_to_multiple(photo, 8) is photo


def test_output_names_never_meet():
    names = [Path(name) for name in ("a.jpg", "b.JPEG", "x/a.jpg", "no_suffix", "c.d.png", ".e")]
    found = [name.as_posix() for name in output_names(names, ".png")]
    assert found == ["a.png", "b.png", "x/a.png", "no_suffix.png", "c.d.png", ".e.png"]
    with pytest.raises(UserError, match=r"'k/1.png' and 'k/1.jpg' would both be written as 'k/1.png': rename one"):
        output_names([Path("k/1.png"), Path("a.png"), Path("k/1.jpg")], ".png")
    with pytest.raises(UserError, match=r"'x/a.jpg' and 'y/a.jpg' .* 'a.tif': give the folder that holds both"):
        output_names([Path("a.jpg")] * 2, ".tif", [Path("x/a.jpg"), Path("y/a.jpg")])


def test_pictures_are_written_whole(tmp_path, photo):
    for pixels in (photo[:5, :6], photo[:5, :6, :1]):
        save_png(tmp_path / "new" / "image.png", pixels)
        assert np.array_equal(
            load_image(tmp_path / "new" / "image.png", "RGB" if pixels.shape[2] == 3 else "L"), pixels
        )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("tag", "kind", "value"), [(0x11A, 2, b"abc\0"), (0x103, 1, b"\6\0\0\0"), (0x101, 11, b"\0\0\0\1")]
)
def test_a_wrong_value_in_exif_costs_neither_the_picture_nor_its_orientation(
    tmp_path, photo, orientation, tag, kind, value
):
    entries = sorted([struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0), struct.pack("<HHI", tag, kind, 4) + value])
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + bytes(4)
    plain = load_image(written(tmp_path, Image.fromarray(photo[:24, :40]), "plain.jpg"), "RGB")
    warnings.simplefilter("ignore")  # Pillow's, of a truncated block
    read = load_image(written(tmp_path, Image.fromarray(photo[:24, :40]), "wrong.jpg", exif=exif), "RGB")
    assert np.array_equal(read, turn(plain, orientation))


def test_a_cut_exif_block_costs_nothing(tmp_path, photo):
    path = written(tmp_path, Image.fromarray(photo[:24, :40]), exif=b"II*\0")
    assert np.array_equal(load_image(path, "RGB"), photo[:24, :40])


def test_whatever_a_plug_in_raises_is_a_sentence(tmp_path, photo, monkeypatch):
    path = written(tmp_path, Image.fromarray(photo[:24, :40]))
    monkeypatch.setattr("qgcn.utils.image.to_mode", lambda *_: struct.unpack("<I", b""))
    with pytest.raises(UserError, match=r"image.png' can't be read: unpack requires"):
        load_image(path, "RGB")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("Failed to allocate memory for requested buffer of size 8"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_too_little_memory_is_told_from_other_faults(error, expected):
    assert is_out_of_memory(error) == expected
