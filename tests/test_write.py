"""Restored pictures in files of every format, with what the photographs carry."""

import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from restoring import encoded

from qgcn.jpeg.reader import Metadata
from qgcn.restoring import write
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.write import Picture, Writing, write_picture


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
    Path("a.jpg").write_bytes(encoded(pixels, quality=40, **known))
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
    picture = Picture(photo[:8, :8].copy(), None, Metadata(exif=exif))
    for form in ("PNG", "WEBP", "JPEG"):
        write_picture(BytesIO(), picture, Writing(form))
    with pytest.raises(ValueError, match="it can't be written as TIFF: its EXIF block is damaged"):
        write_picture(BytesIO(), picture, Writing("TIFF"))


@pytest.mark.parametrize("xmp", [b"", b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"])
def test_a_tiff_without_exif_is_compressed(photo, xmp):
    picture = Picture(np.full((64, 64, 3), 7, np.uint8), None, Metadata(xmp=xmp or None))
    file = BytesIO()
    write_picture(file, picture, Writing("TIFF"))
    image = Image.open(file)
    assert image.info["compression"] == "tiff_adobe_deflate" and image.info.get("xmp", b"") == xmp
    assert (np.asarray(image) == 7).all()


def test_sixteen_bits_hold_what_the_network_says(call, photo, make_checkpoint):
    Path("a.jpg").write_bytes(encoded(photo[:40, :56], quality=20))
    path = make_checkpoint("qmar")
    assert call("restore", "a.jpg", "-o", "deep.png", "--model", path, "--depth", 16).code == 0
    exact = Restorer(path).restore_picture("a.jpg", dtype=np.float32).pixels
    content = Path("deep.png").read_bytes()
    assert content[24] == 16  # IHDR's bit depth (PNG, third edition, 11.2.1)
    rows = zlib.decompress(b"".join(chunk for name, chunk in chunks(content) if name == b"IDAT"))
    lines = np.frombuffer(rows, np.uint8).reshape(40, 1 + 56 * 6)
    assert (lines[:, 0] == 2).all()  # each row is the difference to the one above
    pixels = np.cumsum(lines[:, 1:], axis=0, dtype=np.uint8).reshape(40, 56, 3, 2).astype(int) @ [256, 1]
    assert np.abs(pixels / 257 - exact).max() <= 0.5 / 257 + 1e-4


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_large_pictures_are_written_in_strips(photo, monkeypatch, channels, alpha):
    icc = b"a profile"
    see_through = photo[:300, :70, 1].copy() if alpha else None
    picture = Picture(photo[:300, :70, :channels].copy(), see_through, Metadata(icc=icc, dpi=(300.0, 300.0)))
    written = []
    for limit in (1e9, 100):
        monkeypatch.setattr(write, "LARGE", limit)
        file = BytesIO()
        write_picture(file, picture, Writing())
        written.append(file)
    plain, strips = map(Image.open, written)
    assert plain.mode == strips.mode and np.array_equal(np.asarray(plain), np.asarray(strips))
    assert strips.info["icc_profile"] == icc and strips.info["dpi"] == plain.info["dpi"]
    assert written[0].getvalue() != written[1].getvalue()


def chunks(content):
    """Name and data of each chunk of a PNG."""
    position = 8
    while position < len(content):
        length = int.from_bytes(content[position : position + 4])
        yield content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += length + 12


def test_cmyk_stays_cmyk_where_the_format_has_it_and_a_jpeg_has_no_alpha(photo):
    inks = Picture(np.dstack([photo[:40, :40], photo[40:80, :40, 0]]), None, Metadata())
    for form, mode in (("TIFF", "CMYK"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("WEBP", "RGB")):
        file = BytesIO()
        write_picture(file, inks, Writing(form))
        assert Image.open(file).mode == mode
    with pytest.raises(ValueError, match="16 bits"):
        write_picture(BytesIO(), inks, Writing(depth=16))
    with pytest.raises(ValueError, match="partly transparent"):
        write_picture(BytesIO(), Picture(photo[:8, :8], photo[:8, :8, 0], Metadata()), Writing("JPEG"))
