"""What a file allows, and the projection onto it."""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from conftest import ROOT, refused
from PIL import Image

from qgcn.jpeg.codec import Ijg9Codec
from qgcn.jpeg.color import RGB
from qgcn.jpeg.dct import LEVEL_SHIFT, dct, inverse_dct, to_blocks, to_plane
from qgcn.jpeg.markers import picture_alone, read_structure
from qgcn.jpeg.projection import HALF, project, read_coefficients, share_kept, transform
from qgcn.jpeg.reader import read_photo
from qgcn.restoring.restorer import Restorer
from qgcn.utils.errors import UserError


def encoded(pixels, mode=None, **keywords):
    stream = BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", **keywords)
    return stream.getvalue()


def sampled(pixels, sampling, quality, tmp_path):
    """A JPEG of any sampling, made by jpeglib."""
    image = jpeglib.from_spatial(np.ascontiguousarray(pixels))
    image.samp_factor = sampling
    with jpeglib.version("9d"):
        image.write_spatial(str(tmp_path / "sampled.jpg"), qt=quality)
    return (tmp_path / "sampled.jpg").read_bytes()


def decode(file, height, width):
    """A file's picture without rounding, cutting off or smoothing of chroma: float32, H x W x C."""
    planes = [
        to_plane(inverse_dct(c.quantized * c.steps)).repeat(c.down, 0).repeat(c.across, 1)[:height, :width]
        for c in file.components
    ]
    picture = np.stack(planes, -1)
    if len(planes) == 1 or file.rgb:
        return picture + LEVEL_SHIFT
    return (picture + np.float32([LEVEL_SHIFT, 0, 0])) @ RGB.T


def soft(photo):
    """A photograph of little contrast, whose decoded picture stays within 0 and 255."""
    return (photo // 3 + 80).astype(np.uint8)


def test_the_dct_is_that_of_the_standard():
    u, x = np.mgrid[:8, :8]
    c = np.where(u == 0, 1 / np.sqrt(2), 1)
    one = c * np.cos((2 * x + 1) * u * np.pi / 16)
    block = np.random.default_rng(0).normal(0, 50, (3, 8, 8))
    expected = np.einsum("ux,vy,nxy->nuv", one, one, block) / 4  # ITU-T T.81, A.3.3
    assert np.abs(dct(block) - expected).max() < 1e-3
    assert np.abs(inverse_dct(dct(block)) - block).max() < 1e-3
    plane = np.arange(16 * 24).reshape(16, 24)
    assert np.array_equal(to_blocks(plane)[1, 2], plane[8:, 16:]) and np.array_equal(to_plane(to_blocks(plane)), plane)


SAMPLINGS = ["gray", "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "4:1:0", "rgb", "progressive"]


def made(kind, pixels, tmp_path, quality=40):
    if kind == "gray":
        return encoded(pixels[..., 0], quality=quality)
    if kind == "rgb":
        return encoded(pixels, quality=quality, keep_rgb=True, subsampling=0)
    if kind == "progressive":
        return encoded(pixels, quality=quality, progressive=True, restart_marker_blocks=3)
    return sampled(pixels, kind, quality, tmp_path)


@pytest.mark.parametrize("size", [(64, 64), (45, 61), (203, 8), (1, 1)])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_a_files_own_picture_is_allowed(photo, tmp_path, kind, size):
    stream = made(kind, soft(photo)[: size[0], : size[1]], tmp_path)
    file = read_coefficients(stream)
    own = decode(file, *size)
    assert np.abs(project(own, file) - own).max() < 1e-3 and share_kept(own, file) == 1
    # and it is the picture that decoders show, but for what they round and smooth
    smooth = max(component.down * component.across for component in file.components) > 1
    difference = np.abs(read_photo(stream).pixels - own)
    assert difference.mean() < 2.5 if smooth else difference.max() <= 2


@pytest.mark.parametrize("size", [(64, 96), (45, 61), (203, 13)])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_noise_is_projected_to_the_files_coefficients(photo, tmp_path, kind, size):
    file = read_coefficients(made(kind, soft(photo)[: size[0], : size[1]], tmp_path))
    channels = len(file.components)
    noise = np.random.default_rng(0).normal(128, 9, (*size, channels)).astype(np.float32)
    projected = project(noise, file)
    assert projected.dtype == np.float32 and projected.min() > 0 and projected.max() < 255  # nothing was cut off
    assert share_kept(noise, file) < 0.99
    checked = 0
    for found, (quantized, steps, down, across) in zip(transform(projected, file), file.components, strict=True):
        whole = np.s_[: size[0] // (8 * down), : size[1] // (8 * across)]  # blocks within the picture
        assert np.array_equal(np.rint(found / steps)[whole], quantized[whole])
        checked += quantized[whole].size
    assert checked
    again = project(projected, file)
    inside = np.s_[: size[0] // 32 * 32, : size[1] // 32 * 32]
    assert np.abs(again - projected)[inside].max(initial=0) < 1e-2  # a second time there is nothing to do


def test_blocks_at_the_edge_have_a_continuation_that_the_file_allows(photo):
    # 13 x 13 of 16 x 16 pixels: what was projected, continued by what was added outside, is a picture of the file
    file = read_coefficients(encoded(soft(photo)[:13, :13, 0], quality=30))
    (component,) = file.components
    noise = np.random.default_rng(0).normal(128, 9, (13, 13, 1)).astype(np.float32)
    padded = decode(file, 16, 16)
    padded[:13, :13] = noise
    projected = project(padded, file)
    assert np.abs(projected[:13, :13] - project(noise, file)).max() < 1e-3
    assert np.array_equal(np.rint(transform(projected, file)[0] / component.steps), component.quantized)


@pytest.mark.parametrize("quality", [5, 30, 80])
def test_projection_never_leads_away_from_the_original(photo, quality):
    original = soft(photo)[:64, :64, :1]
    file = read_coefficients(encoded(original[..., 0], quality=quality))
    truth = dct(to_blocks(original[..., 0].astype(np.float32) - LEVEL_SHIFT))
    noisy = original + np.random.default_rng(0).normal(0, 12, original.shape).astype(np.float32)
    before = np.abs(transform(noisy, file)[0] - truth)
    after = np.abs(transform(project(noisy, file), file)[0] - truth)
    assert (after <= before + 0.5).all()  # half a level: encoders compute the DCT with integers
    assert after.mean() < before.mean()


def test_bands_do_not_show(photo):
    pixels = np.tile(soft(photo)[:64, :32], (8, 1, 1))  # 512 rows, more than two bands
    file = read_coefficients(encoded(pixels, quality=30))
    noise = np.random.default_rng(0).normal(128, 9, pixels.shape).astype(np.float32)
    assert share_kept(project(noise, file), file) == 1
    assert np.abs(project(noise, file)[:160] - project(noise[:160], file)).max() < 1e-3


def test_pictures_that_reach_black_and_white(photo):
    # cutting off and projecting alternate: with as much of both as here not all coefficients come into place
    original = np.clip(photo[:128, :128, :1].astype(float) * 3 - 200, 0, 255).astype(np.uint8)
    file = read_coefficients(encoded(original[..., 0], quality=30))
    noisy = np.clip(original + np.random.default_rng(0).normal(0, 12, original.shape), 0, 255).astype(np.float32)
    projected = project(noisy, file)
    assert ((original == 0) | (original == 255)).mean() > 0.2 and projected.min() >= 0 and projected.max() <= 255
    assert share_kept(noisy, file) < 0.95 and share_kept(projected, file) > 0.97
    error = [np.abs(picture - original).mean() for picture in (noisy, projected)]
    assert error[1] < error[0]


def test_the_margin_is_a_small_part_of_a_step():
    assert 0.49 < HALF < 0.5


def test_adobe_and_identifiers_tell_rgb_apart(photo, tmp_path):
    rgb = encoded(photo[:16, :16], keep_rgb=True, subsampling=0)
    ycc = encoded(photo[:16, :16])
    assert not read_structure(rgb).transformed and read_structure(ycc).transformed
    assert read_structure(encoded(photo[:16, :16, 0])).transformed
    bare = picture_alone(ycc)
    assert read_structure(bare).transformed and b"JFIF" not in bare
    named = bytearray(picture_alone(rgb))  # Adobe's segment is gone, and R, G and B name the components
    assert not read_structure(bytes(named)).transformed


def test_segments_beyond_number_are_left_out_before_jpeglib_reads(photo):
    stream = encoded(soft(photo)[:16, :16])
    crowded = stream[:2] + b"\xff\xe5\x00\x04ab" * 200 + b"\xff\xfe\x00\x03c" * 200 + stream[2:]
    assert read_photo(crowded).pixels.shape == (16, 16, 3)
    expected, found = (read_coefficients(each).components for each in (stream, crowded))
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one.quantized, other.quantized)


def test_damaged_files_are_refused_and_leave_nothing_behind(photo, capfd):
    stream = encoded(photo[:16, :16])
    table = stream.index(b"\xff\xc4")
    damaged = stream[: table + 6] + b"\xff" * 8 + stream[table + 14 :]
    before = set(Path(tempfile.gettempdir()).iterdir())
    with pytest.raises(ValueError, match="coefficients can't be read"):
        read_coefficients(damaged)
    left = {path for path in set(Path(tempfile.gettempdir()).iterdir()) - before if path.suffix == ".jpeg"}
    assert not left and capfd.readouterr() == ("", "")


def test_standard_error_may_be_closed(photo):
    script = (
        "import os, sys; os.close(2); sys.path.insert(0, 'src'); from qgcn.jpeg.projection import read_coefficients\n"
        "print(len(read_coefficients(sys.stdin.buffer.read()).components))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=encoded(photo[:16, :16]), cwd=ROOT, stdout=subprocess.PIPE, check=False
    )
    assert done.stdout == b"3\n"


def test_threads_wait_for_each_other(photo):
    streams = [encoded(soft(photo)[8 * i : 8 * i + 40, :56], quality=20 + 9 * i) for i in range(6)]
    alone = [read_coefficients(stream) for stream in streams]
    codec = Ijg9Codec()  # takes another libjpeg
    expected = codec.compress(photo[:32, :32], 50).pixels
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(codec.compress, photo[:32, :32], 50) for _ in range(6)]
        together = list(pool.map(read_coefficients, streams))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one.components, other.components, strict=True):
            assert np.array_equal(a.quantized, b.quantized)
    assert all(np.array_equal(job.result().pixels, expected) for job in jobs)


# ------------------------------------------------------------------------------------------- for users


@pytest.mark.parametrize("strength", [1, 0.5, 0])
def test_restored_pictures_are_projected(photo, make_checkpoint, strength):
    checkpoint, stream = make_checkpoint("qmar"), encoded(soft(photo)[:45, :61], quality=40)
    file = read_coefficients(stream)
    for ensemble in (False, True):
        plain, projected = (
            Restorer(checkpoint, strength=strength, self_ensemble=ensemble, project=p)
            .restore_picture(stream, dtype=np.float32)
            .pixels
            for p in (False, True)
        )
        assert np.array_equal(project(plain, file), projected)
        assert share_kept(plain, file) < share_kept(projected, file) or not strength


def test_orientation_is_applied_after_the_projection(photo, make_checkpoint):
    exif = Image.Exif()
    exif[0x0112] = 6
    checkpoint = make_checkpoint("qmar")
    plain, turned = (
        np.asarray(Restorer(checkpoint, project=True).restore(encoded(photo[:37, :53], quality=15, **more)))
        for more in ({}, {"exif": exif})
    )
    assert np.array_equal(np.rot90(plain, -1), turned)


def test_what_can_not_be_projected_is_refused(photo, call, make_checkpoint):
    checkpoint = make_checkpoint("qmar")
    restorer = Restorer(checkpoint, project=True, quality=30)
    png = BytesIO()
    Image.fromarray(photo[:16, :16]).save(png, "PNG")
    with pytest.raises(UserError, match="--project takes a JPEG file: of this PNG the pixels alone are known"):
        restorer.restore(png.getvalue())
    inks = encoded(np.dstack([photo[:16, :16], photo[:16, :16, 0]]), "CMYK")
    with pytest.raises(UserError, match=r"it is CMYK.*--project"):
        restorer.restore(inks)
    Path("inks.jpg").write_bytes(inks)
    done = call("restore", "inks.jpg", "-o", "out.png", "--project", "--model", checkpoint)
    assert done.code == 1 and "CMYK" in done.err and "Traceback" not in done.err and not Path("out.png").exists()


def test_the_program_projects(photo, call, make_checkpoint):
    Path("a.jpg").write_bytes(encoded(soft(photo)[:45, :61], quality=10))
    checkpoint = make_checkpoint("qmar")
    assert call("restore", "a.jpg", "-o", "plain.png", "--model", checkpoint).code == 0
    done = call("restore", "a.jpg", "-o", "out.png", "--project", "--model", checkpoint)
    assert done.code == 0 and not done.err
    expected = Restorer(checkpoint, project=True).restore("a.jpg")
    assert np.array_equal(np.asarray(Image.open("out.png")), np.asarray(expected))
    assert not np.array_equal(np.asarray(Image.open("plain.png")), np.asarray(expected))


def test_without_jpeglib_one_sentence_says_so(photo, call, make_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    Path("a.jpg").write_bytes(encoded(photo[:16, :16]))
    done = call("restore", "a.jpg", "-o", "out.png", "--project", "--model", make_checkpoint("qmar"))
    refused(done, "--project", "pip install jpeglib")
    assert not Path("out.png").exists()
