"""Tables and grid from pixels alone."""

import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from PIL import Image

from qgcn.jpeg.estimation import estimate
from qgcn.jpeg.reader import read_photo
from qgcn.jpeg.tables import standard_tables
from qgcn.restoring.restorer import Restorer
from qgcn.utils.errors import UserError


def compressed(pixels, quality, **keywords):
    """Decoded after compression: uint8, H x W x C."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, **keywords)
    decoded = np.asarray(Image.open(stream))
    return decoded.reshape(*decoded.shape[:2], -1)


@pytest.fixture(scope="module")
def synthetic():
    """Smooth random shapes, 160 x 192 x 3 uint8, that never were a JPEG."""
    noise = np.random.default_rng(0).normal(0, 1, (160, 192, 3))
    waves = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * _low_pass(160, 192)[..., None], axes=(0, 1)).real
    return np.clip(128 + 35 * waves / waves.std(), 1, 254).astype(np.uint8)


def _low_pass(height, width):
    return 1 / (0.03 + np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)))


@pytest.mark.parametrize(
    ("quality", "crop"),
    [(10, (0, 0)), (10, (3, 6)), (30, (7, 1)), (50, (0, 0)), (75, (0, 4)), (90, (3, 6)), (95, (1, 0))],
)
def test_quality_and_grid_are_found(photo, synthetic, quality, crop):
    for picture in (photo[:256, :256], synthetic, photo[:256, :256, 1]):
        found = estimate(compressed(picture, quality)[crop[0] :, crop[1] :])
        assert found.quality == quality and not found.turned
        assert found.offset == (-crop[0] % 8, -crop[1] % 8)
        assert np.array_equal(found.tables, standard_tables(quality))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_any_sampling(photo, subsampling):
    assert estimate(compressed(photo, 60, subsampling=subsampling)).quality == 60


def test_pictures_that_were_turned(photo):
    decoded = compressed(photo[:300, :207], 40)
    found = estimate(np.rot90(decoded))
    assert found.turned and found.quality == 40 and np.array_equal(found.tables, standard_tables(40).swapaxes(1, 2))
    mirrored = estimate(decoded[:, ::-1])  # the last block, which was cut off, comes first
    assert not mirrored.turned and mirrored.offset == (0, 207 % 8)


def test_what_was_never_compressed_gives_no_estimate(photo, synthetic):
    generator = np.random.default_rng(0)
    blocks = generator.integers(5, 250, (32, 32, 1)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(256, 0)
    flat = np.full((256, 256, 1), 99, np.uint8)
    noise = generator.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    twice = synthetic.repeat(2, 0).repeat(2, 1)
    for picture in (photo, synthetic, synthetic[..., :1], blocks, ramp, flat, noise, twice, photo // 16 * 16):
        with pytest.raises(ValueError, match=r"for certain.*--quality Q"):
            estimate(picture)


def test_what_was_compressed_without_loss_or_resized_gives_none(photo):
    resized = np.asarray(Image.fromarray(compressed(photo, 60)).resize((400, 400)))
    for picture in (compressed(photo, 100), resized):
        with pytest.raises(ValueError, match="for certain"):
            estimate(picture)


def test_small_pictures(photo):
    assert estimate(compressed(photo[100:148, 200:248], 50)).quality in (49, 50)
    for height, width in ((1, 1), (7, 300), (14, 14), (15, 15), (8, 16), (16, 40)):
        part = np.ascontiguousarray(photo[: height + 3, : width + 3])
        decoded = compressed(part, 50)[3:, 3:]
        try:
            assert estimate(decoded).offset == (5, 5)
        except ValueError as error:
            assert "for certain" in str(error)


def test_large_pictures_take_no_longer(photo):
    decoded = np.tile(compressed(photo, 70), (12, 12, 1))  # 38 megapixels
    start = time.perf_counter()
    assert estimate(decoded).quality == 70
    assert time.perf_counter() - start < 10


# ------------------------------------------------------------------------------------------- for users


def as_png(pixels):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_an_estimate_restores_like_the_file_itself(photo, make_checkpoint):
    checkpoint = make_checkpoint("qmar")
    stream = BytesIO()
    Image.fromarray(photo[:160, :160]).save(stream, "JPEG", quality=30)
    expected = np.asarray(Restorer(checkpoint).restore(stream.getvalue()))
    decoded = read_photo(stream.getvalue()).pixels
    restorer = Restorer(checkpoint, estimate=True)
    assert np.array_equal(np.asarray(restorer.restore(as_png(decoded))), expected)
    inside = np.s_[32:-32, 32:-32]  # where the edge of the crop is not seen
    cropped = np.asarray(restorer.restore(as_png(decoded[3:, 6:])))
    assert np.abs(cropped[inside].astype(int) - expected[3:, 6:][inside]).max() <= 1
    # a JPEG's own tables win over any estimate, and over what its pixels would have said
    again = BytesIO()
    Image.fromarray(decoded).save(again, "JPEG", quality=97)
    assert np.array_equal(
        np.asarray(restorer.restore(again.getvalue())), np.asarray(Restorer(checkpoint).restore(again.getvalue()))
    )


def test_the_program_estimates(photo, call, make_checkpoint):
    model = ("--model", make_checkpoint("qmar"))
    Path("album").mkdir()
    Path("album/a.png").write_bytes(as_png(compressed(photo[:160, :160], 30)[5:, 2:]))
    assert call("restore", "album", "-o", "out", "--estimate", *model).code == 0 and Path("out/a.png").exists()
    Path("album/never.png").write_bytes(as_png(photo[:160, :160]))
    done = call("restore", "album", "-o", "out", "--estimate", "--overwrite", *model)
    assert done.code == 1 and "restored 1 of 2" in done.out and not Path("out/never.png").exists()
    assert "never.png" in done.err and "--quality Q" in done.err
    assert done.err.count("error: ") == 1 and "Traceback" not in done.err
    refused(call("restore", "album", "-o", "x", "--estimate", "--quality", 30, *model), "--quality", "--estimate")
    done = call("restore", "album/a.png", "-o", "x.png", *model)
    assert done.code == 1 and "--quality Q or --estimate" in done.err and not Path("x.png").exists()


def test_the_library_says_why(photo, make_checkpoint):
    restorer = Restorer(make_checkpoint("qmar"), estimate=True)
    with pytest.raises(UserError, match=r"the picture can't be restored: .*for certain"):
        restorer.restore(Image.fromarray(photo[:64, :64]))
