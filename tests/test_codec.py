"""Codecs: what Pillow and IJG libjpeg 9 make of an image."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, refused

from qgcn.evaluating.metrics import psnr
from qgcn.jpeg.codec import PillowCodec, get_codec
from qgcn.utils.errors import UserError


@pytest.fixture
def ijg9():
    pytest.importorskip("jpeglib", reason="the optional package jpeglib is not installed")
    return get_codec("ijg9")


OLD_PILLOW = {
    1: "814c7a767ec5a68d",
    10: "7ce40fcbbba2b1bb",
    50: "0d641e424c309068",
    90: "ddf1086a42781280",
    100: "5614fdcb4a765c08",
}
"""Quality -> SHA-256 (first 16 digits) of the crop below, saved and opened again by Pillow 7.2.0 and, alike, 8.4.0."""


@pytest.mark.parametrize(("quality", "digest"), OLD_PILLOW.items())
def test_ijg9_is_bit_identical_to_the_pillow_of_the_paper(ijg9, photo, quality, digest):
    decoded = ijg9.compress(photo[40:163, 180:257], quality).pixels
    assert hashlib.sha256(decoded.tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("quality", [1, 10, 75, 100])
def test_gray_does_not_depend_on_the_codec(ijg9, photo, quality):
    gray = photo[:123, :77, :1]
    ours, pillow = ijg9.compress(gray, quality), PillowCodec().compress(gray, quality)
    assert np.array_equal(ours.pixels, pillow.pixels) and np.array_equal(ours.tables, pillow.tables)


@pytest.mark.parametrize("quality", [1, 10, 50, 90])
def test_colour_differs_in_chroma_upsampling_alone(ijg9, photo, quality):
    ours, pillow = ijg9.compress(photo, quality), PillowCodec().compress(photo, quality)
    assert ours.pixels.shape == photo.shape and ours.pixels.dtype == np.uint8
    assert np.array_equal(ours.tables, pillow.tables)
    assert not np.array_equal(ours.pixels, pillow.pixels)
    assert abs(psnr(ours.pixels, photo) - psnr(pillow.pixels, photo)) < 0.6
    flat = np.full((32, 32, 3), (90, 120, 200), np.uint8)  # nothing to upsample
    assert np.array_equal(ijg9.compress(flat, 90).pixels, PillowCodec().compress(flat, 90).pixels)


def test_the_terminal_stays_quiet_and_workers_can_have_it(ijg9, photo, capfd):
    copy = pickle.loads(pickle.dumps(ijg9))
    assert np.array_equal(copy.compress(photo[:33, :35], 1).pixels, ijg9.compress(photo[:33, :35], 1).pixels)
    assert capfd.readouterr().err == ""
    assert "9d" in ijg9.name and "jpeglib" in ijg9.name


def test_unknown_codecs_and_missing_packages_are_told(call, monkeypatch):
    with pytest.raises(UserError, match="'mozjpeg' is unknown: choose from pillow, ijg9"):
        get_codec("mozjpeg")
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    refused(call("eval_qm", "--GT", "--gtdata", "sample", "--codec", "ijg9"), "jpeglib", "pip install")


def test_training_with_ijg9_in_worker_processes(ijg9, folder_of_photos):
    command = [
        sys.executable,
        ROOT / "src" / "main.py",
        "--imgGTRoot",
        folder_of_photos,
        "--codec",
        "ijg9",
        "--threads",
        2,
    ]
    command += ["--n_feats", 8, "--n_resblocks", 0, "--nEpochs", 1, "--samples_per_epoch", 20, "--size", 32]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0 and "finished after 2 steps" in done.stderr, done.stderr
