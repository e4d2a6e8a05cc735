"""Any JPEG: its tables, its pixels and what it carries, against files made to order."""

import struct
from io import BytesIO

import jpeglib
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from qgcn.jpeg.markers import read_structure
from qgcn.jpeg.reader import read_photo
from qgcn.jpeg.tables import network_tables, standard_tables
from qgcn.utils.exif import turn, upright


def encoded(pixels, mode=None, form="JPEG", **keywords):
    stream = BytesIO()
    Image.fromarray(pixels, mode).save(stream, form, **keywords)
    return stream.getvalue()


def by_jpeglib(tmp_path, pixels, sampling=None, quality=60, flags=(), space=None):
    image = jpeglib.from_spatial(np.ascontiguousarray(pixels), in_color_space=space)
    if sampling:
        image.samp_factor = sampling
    with jpeglib.version("9d"):
        image.write_spatial(str(tmp_path / "made.jpg"), qt=quality, flags=list(flags))
    return (tmp_path / "made.jpg").read_bytes()


def segments_before_scan(stream):
    """(marker, whole segment) up to the scan header, and the rest from there."""
    found, position = [], 2
    while stream[position + 1] != 0xDA:
        length = 2 + int.from_bytes(stream[position + 2 : position + 4])
        found.append((stream[position + 1], stream[position : position + length]))
        position += length
    return found, stream[position:]


def redefined_between_scans(planes, steps):
    """A 4:4:4 JPEG of three scans, each after a new definition of table 0 (ITU-T T.81, B.2.4.1)."""
    parts = [encoded(plane, qtables=[[step] * 64]) for plane, step in zip(planes, steps, strict=True)]
    stream = b"\xff\xd8"
    height, width = planes[0].shape
    for number, part in enumerate(parts, 1):
        segments, scan = segments_before_scan(part)
        stream += b"".join(segment for marker, segment in segments if marker == 0xDB)
        if number == 1:
            components = b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3))
            stream += b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + components
            stream += b"".join(segment for marker, segment in segments if marker == 0xC4)
        stream += scan[:5] + bytes([number]) + scan[6:-2]
    return stream + b"\xff\xd9"


def with_exif(orientation, order="<"):
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    other = struct.pack(order + "HHII", 0x0100, 4, 1, 77)
    head = b"II" if order == "<" else b"MM"
    return b"Exif\0\0" + head + struct.pack(order + "HIH", 42, 8, 2) + other + entry + bytes(4)


def test_structures_agree_with_pillow_for_ordinary_files(photo):
    for keywords in ({}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 2}, {"quality": 3}):
        stream = encoded(photo[:45, :61], **keywords)
        structure = read_structure(stream)
        with Image.open(BytesIO(stream)) as image:
            assert (structure.width, structure.height) == image.size == (61, 45)
            assert [component[:] for component in structure.components] == image.layer
            expected = [image.quantization[component[3]] for component in image.layer]
            assert structure.tables.reshape(3, 64).tolist() == expected
        assert structure.complete and structure.scans == (10 if "progressive" in keywords else 1)


def test_each_component_has_the_table_that_its_scan_found(photo):
    planes = [np.ascontiguousarray(photo[:40, :24, i]) for i in range(3)]
    stream = redefined_between_scans(planes, (3, 7, 11))
    photo_read = read_photo(stream)
    assert (
        photo_read.tables[:, 0, 0].tolist() == [3, 7, 11] and (photo_read.tables == photo_read.tables[:, :1, :1]).all()
    )
    alone = [
        np.asarray(Image.open(BytesIO(encoded(p, qtables=[[s] * 64])))) for p, s in zip(planes, (3, 7, 11), strict=True)
    ]
    expected = Image.merge("YCbCr", [Image.fromarray(plane) for plane in alone]).convert("RGB")
    difference = photo_read.pixels.astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 2  # the decoder found the same tables
    # the network has one input for both chroma tables, and is told their mean
    assert network_tables(photo_read.tables)[:, 0, 0].tolist() == [3, 9]


def test_tables_of_16_bits_and_several_in_a_segment(photo):
    wide = [list(range(200, 264)), [1000] * 64]
    stream = encoded(photo[:16, :16], qtables=wide)
    assert stream.count(b"\xff\xdb\x00\x83\x10") == 1  # a table of 16 bits
    tables = read_photo(stream).tables
    assert sorted(tables[0].ravel().tolist()) == wide[0] and (tables[1:] == 1000).all()
    assert network_tables(tables).max() == 255
    segments, scan = segments_before_scan(encoded(photo[:16, :16]))
    both = b"".join(segment[4:] for marker, segment in segments if marker == 0xDB)
    others = b"".join(segment for marker, segment in segments if marker != 0xDB)
    joined = b"\xff\xd8\xff\xdb" + struct.pack(">H", 2 + len(both)) + both + others + scan
    assert np.array_equal(read_photo(joined).tables, standard_tables(75)[[0, 1, 1]])


def test_a_thumbnails_tables_are_not_the_pictures(photo):
    thumbnail = encoded(photo[:16, :16], quality=5)
    stream = encoded(photo[:32, :32], quality=50, exif=b"Exif\0\0" + thumbnail)
    assert np.array_equal(read_photo(stream).tables, standard_tables(50)[[0, 1, 1]])


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "4:1:0"])
def test_every_sampling(tmp_path, photo, sampling):
    pixels = photo[100:145, 60:121]
    stream = by_jpeglib(tmp_path, pixels, sampling, 90)
    read = read_photo(stream)
    assert read.pixels.shape == (45, 61, 3)
    assert np.abs(read.pixels.astype(int) - pixels).mean() < 6
    assert np.array_equal(read.tables, standard_tables(90)[[0, 1, 1]])


@pytest.mark.parametrize("flags", [["+ARITH_CODE"], ["+PROGRESSIVE_MODE"], ["+ARITH_CODE", "+PROGRESSIVE_MODE"]])
def test_arithmetic_and_progressive_coding(tmp_path, photo, flags):
    huffman = read_photo(by_jpeglib(tmp_path, photo[:40, :40], "4:4:4"))
    other = read_photo(by_jpeglib(tmp_path, photo[:40, :40], "4:4:4", flags=flags))
    assert np.array_equal(huffman.pixels, other.pixels) and np.array_equal(huffman.tables, other.tables)


def test_gray_rgb_and_cmyk(photo):
    gray = read_photo(encoded(photo[:20, :30, 0], quality=100))
    assert gray.pixels.shape == (20, 30, 1) and gray.tables.shape == (1, 8, 8)
    rgb = read_photo(encoded(photo[:20, :30], quality=100, keep_rgb=True, subsampling=0))
    assert np.abs(rgb.pixels.astype(int) - photo[:20, :30]).max() <= 2 and rgb.tables.shape == (3, 8, 8)
    inks = np.dstack([photo[:20, :30], photo[20:40, :30, 0]])
    cmyk = read_photo(encoded(inks, "CMYK", quality=100))
    assert np.abs(cmyk.pixels.astype(int) - inks).max() <= 2 and cmyk.tables.shape == (4, 8, 8)


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (9, 1), (7, 23), (8, 8)])
def test_sizes(photo, size):
    assert read_photo(encoded(photo[: size[0], : size[1]])).pixels.shape == (*size, 3)


def test_only_the_first_of_several_pictures_counts(photo):
    stream = BytesIO()
    more = [Image.fromarray(photo[40:56, :16])]
    Image.fromarray(photo[:32, :32]).save(stream, "MPO", save_all=True, append_images=more, quality=40)
    for source in (stream.getvalue(), Image.open(stream)):
        read = read_photo(source)
        assert read.pixels.shape == (32, 32, 3) and np.array_equal(read.tables, standard_tables(40)[[0, 1, 1]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_orientation_is_told_apart_and_taken_out_of_exif(photo, orientation, order):
    exif = with_exif(orientation, order)
    stream = encoded(photo[:24, :40], exif=exif, dpi=(72, 100))
    read = read_photo(stream)
    assert read.orientation == orientation and read.pixels.shape == (24, 40, 3)
    with Image.open(BytesIO(stream)) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(turn(read.pixels, orientation), shown)
    assert upright(read.metadata.exif) == (1, read.metadata.exif) and len(read.metadata.exif) == len(exif)
    assert sum(a != b for a, b in zip(read.metadata.exif, exif, strict=True)) == (orientation != 1)
    assert read.metadata.dpi == ((72, 100) if orientation < 5 else (100, 72))


@pytest.mark.parametrize("order", "<>")
def test_an_orientation_of_four_bytes_counts(order):
    head, name = (b"II*\0", "<") if order == "<" else (b"MM\0*", ">")
    exif = b"Exif\0\0" + head + struct.pack(name + "IHHHIII", 8, 1, 0x112, 4, 1, 6, 0)
    orientation, rest = upright(exif)
    assert orientation == 6 and upright(rest) == (1, rest)
    assert rest == exif[:-8] + struct.pack(name + "II", 1, 0)


def test_an_orientation_that_xmp_alone_asks_for_stays(photo):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    read = read_photo(encoded(photo[:24, :40], xmp=xmp))
    assert read.orientation == 1 and read.metadata.xmp == xmp
    read = read_photo(encoded(photo[:24, :40], xmp=xmp, exif=with_exif(6)))
    assert read.orientation == 6 and read.metadata.xmp == xmp.replace(b"6", b"1")


def test_exif_that_makes_no_sense_asks_for_nothing():
    for exif in (b"", b"Exif\0\0", b"Exif\0\0II", b"Exif\0\0II*\0\xff\xff\xff\xff", with_exif(9), with_exif(6)[:30]):
        assert upright(exif) == (1, exif)


def test_metadata_is_carried(photo):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6" dc:title="t"/></x:xmpmeta>'
    read = read_photo(encoded(photo[:16, :16], icc_profile=icc, exif=with_exif(6), xmp=xmp, dpi=(300, 300)))
    assert read.metadata.icc == icc and read.metadata.dpi == (300, 300)
    assert read.metadata.xmp == xmp.replace(b'"6"', b'"1"')


def test_pictures_that_are_no_jpegs(photo):
    rgba = np.dstack([photo[:20, :30], photo[:20, :30, 0]])
    read = read_photo(encoded(rgba, form="PNG"))
    assert (
        read.tables is None and np.array_equal(read.pixels, rgba[..., :3]) and np.array_equal(read.alpha, rgba[..., 3])
    )
    read = read_photo(encoded(rgba[..., 0], form="TIFF"))
    assert read.alpha is None and np.array_equal(read.pixels[..., 0], rgba[..., 0])
    frames = BytesIO()
    Image.fromarray(photo[:9, :9]).save(frames, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))])
    with pytest.raises(ValueError, match="it holds 2 pictures"):
        read_photo(frames.getvalue())


def test_a_picture_that_pillow_has_opened(photo):
    stream = encoded(photo[:24, :24], quality=30, exif=with_exif(6))
    with Image.open(BytesIO(stream)) as image:
        opened, read = read_photo(image), read_photo(stream)
    assert np.array_equal(opened.pixels, read.pixels) and np.array_equal(opened.tables, read.tables)
    assert opened.orientation == 6


def test_a_damaged_file_is_refused_or_restored_as_far_as_it_goes(photo):
    stream = encoded(photo[:64, :64], quality=80)
    cut = stream[: len(stream) * 2 // 3]
    with pytest.raises(ValueError, match=r"truncated.*--tolerant"):
        read_photo(cut)
    read = read_photo(cut, tolerant=True)
    assert "truncated" in read.warning
    whole = read_photo(stream)
    assert not whole.warning and np.array_equal(read.pixels[:14], whole.pixels[:14])
    assert not np.array_equal(read.pixels, whole.pixels)
    with pytest.raises(ValueError, match="breaks off before its picture"):
        read_photo(stream[:610], tolerant=True)


def test_tolerance_is_advised_only_where_it_helps(photo):
    stream = bytearray(encoded(photo[:16, :16]))
    stream[stream.index(b"\xff\xc0") + 4] = 12  # bits a sample
    with pytest.raises(ValueError, match=r"^it can't be decoded \([^)]*\)$"):
        read_photo(bytes(stream))


def test_what_is_too_large_is_refused_before_it_is_decoded(photo):
    stream = bytearray(encoded(photo[:16, :16]))
    frame = stream.index(b"\xff\xc0")
    stream[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match=r"65535 x 65535 pixels.*200 megapixels.*--max_megapixels"):
        read_photo(bytes(stream))
    stream[frame + 5 : frame + 9] = bytes(4)
    with pytest.raises(ValueError, match="0 x 0 pixels"):
        read_photo(bytes(stream))
    with pytest.raises(ValueError, match=r"more than 0\.0001 megapixels"):
        read_photo(encoded(photo[:16, :16], form="PNG"), max_megapixels=0.0001)


def test_scans_without_end_are_refused(photo):
    stream = encoded(photo[:16, :16], progressive=True)
    last = stream.rindex(b"\xff\xda")
    with pytest.raises(ValueError, match="210 scans"):
        read_photo(stream[:last] + stream[last:-2] * 201 + b"\xff\xd9")
