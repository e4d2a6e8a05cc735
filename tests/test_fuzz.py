"""Hostile files: mutations of many kinds of JPEG are restored whole or refused in one sentence, never anything else."""

import faulthandler
import resource
import threading
import time
from io import BytesIO
from pathlib import Path

import jpeglib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from qgcn.jpeg.markers import segments
from qgcn.restoring.files import restore_file
from qgcn.restoring.model import Model
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.write import Writing
from qgcn.utils.errors import UserError
from qgcn.utils.image import load_image

LIMIT = 0.5
"""Megapixels: what a mutated header may ask for is bounded by --max_megapixels, and here by this."""
SECONDS = 10
"""For one file; a thousandth of that is usual."""
MEGABYTES = 400
"""By which memory may grow over all files."""


class Stub(nn.Module):
    """Stands for a network and gives back its input's pixels."""

    halo = 0

    def forward(self, x):
        return x[:, :3]


@pytest.fixture(scope="module")
def restorers():
    model = Model(Stub(), "qmar", 3, torch.device("cpu"), 64, "stub")
    return [
        Restorer(model, max_megapixels=LIMIT, estimate=True),
        Restorer(model, max_megapixels=LIMIT, tolerant=True),
        Restorer(model, max_megapixels=LIMIT, project=True, quality=50),
        Restorer(model, max_megapixels=LIMIT, tolerant=True, project=True),
    ]


@pytest.fixture(scope="module")
def seeds(photo, tmp_path_factory):
    """Files of many kinds, of one to four thousand bytes."""
    folder = tmp_path_factory.mktemp("seeds")
    pixels = np.ascontiguousarray(photo[30:70, 190:246])

    def pillow(pixels, mode=None, **keywords):
        stream = BytesIO()
        Image.fromarray(pixels, mode).save(stream, "JPEG", **keywords)
        return stream.getvalue()

    def by_jpeglib(sampling, *flags):
        image = jpeglib.from_spatial(pixels)
        image.samp_factor = sampling
        with jpeglib.version("9d"):
            image.write_spatial(str(folder / "seed.jpg"), qt=60, flags=list(flags))
        return (folder / "seed.jpg").read_bytes()

    exif = Image.Exif()
    exif[0x0112] = 6
    thumbnail = exif.tobytes() + pillow(pixels[:16, :16], quality=5)
    mpo = BytesIO()
    Image.fromarray(pixels).save(mpo, "MPO", save_all=True, append_images=[Image.fromarray(pixels[:8])])
    return {
        "tiny": pillow(pixels[:9, :10], quality=20),
        "baseline": pillow(pixels, quality=75),
        "progressive": pillow(pixels, quality=60, progressive=True),
        "gray": pillow(pixels[..., 0], quality=90),
        "cmyk": pillow(np.dstack([pixels, pixels[..., 0]]), "CMYK", quality=70),
        "rgb": pillow(pixels, keep_rgb=True, subsampling=0),
        "4:1:1": by_jpeglib("4:1:1"),
        "4:4:0": by_jpeglib("4:4:0"),
        "arithmetic": by_jpeglib("4:2:0", "+ARITH_CODE"),
        "restarts": pillow(pixels, restart_marker_blocks=2),
        "thumbnail": pillow(pixels, exif=thumbnail, icc_profile=b"profile" * 30, xmp=b"<x/>", comment="a comment"),
        "two pictures": mpo.getvalue(),
    }


def flip_bits(stream, generator):
    for _ in range(generator.choice([1, 1, 3, 20])):
        stream[generator.integers(len(stream))] ^= 1 << generator.integers(8)
    return stream


def flip_header_bits(stream, generator):
    end = stream.index(b"\xff\xda") + 14  # where the kinds of damage are that decoders see
    for _ in range(generator.integers(1, 4)):
        stream[generator.integers(2, end)] ^= 1 << generator.integers(8)
    return stream


def garbage(stream, generator):
    start = generator.integers(len(stream))
    length = generator.integers(1, 60)
    stream[start : start + length] = generator.bytes(length)
    return stream


def insert(stream, generator):
    place = generator.integers(len(stream))
    extra = b"\xff" + generator.bytes(1) if generator.random() < 0.5 else generator.bytes(generator.integers(1, 40))
    stream[place:place] = extra
    return stream


def delete(stream, generator):
    start = generator.integers(len(stream))
    del stream[start : start + generator.integers(1, 60)]
    return stream


def truncate(stream, generator):
    return stream[: generator.integers(len(stream))]


def rearrange_segments(stream, generator):
    parts = [
        bytes([0xFF, marker]) + ((len(content) + 2).to_bytes(2) + content + scan if marker != 0xD9 else b"")
        for marker, content, scan in segments(bytes(stream))
    ]
    a, b = generator.integers(len(parts), size=2)
    what = generator.integers(3)
    if what == 0:
        parts[a], parts[b] = parts[b], parts[a]
    elif what == 1:
        parts[a:a] = [parts[b]] * int(generator.choice([1, 2, 60]))
    else:
        del parts[a]
    return b"\xff\xd8" + b"".join(parts)


MUTATIONS = [flip_bits, flip_header_bits, garbage, insert, delete, truncate, rearrange_segments]


def mutated(seeds, count):
    """(name, content) of ``count`` mutated files, every kind by every mutation in turn; the same in every run."""
    names = list(seeds)
    for number in range(count):
        generator = np.random.default_rng(number)
        name, mutation = names[number % len(names)], MUTATIONS[number // len(names) % len(MUTATIONS)]
        yield f"{number}_{mutation.__name__}_{name}", bytes(mutation(bytearray(seeds[name]), generator))


def attack(files, restorers):
    """Restore each file with each restorer; returns how many attempts gave a picture."""
    source, target = Path("hostile.jpg"), Path("out") / "restored.png"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faulthandler.dump_traceback_later(60 * SECONDS, exit=True)  # a hang in C ends the whole run, and says where
    restored = 0
    try:
        for name, content in files:
            source.write_bytes(content)
            for restorer in restorers:
                start = time.perf_counter()
                outcome = restore_file(source, target, restorer, Writing(), threading.Event())
                assert time.perf_counter() - start < SECONDS, name
                left = list(target.parent.iterdir()) if target.parent.exists() else []
                if outcome.error:
                    assert "hostile.jpg" in outcome.error and "\n" not in outcome.error and not left, name
                    assert len(outcome.error) < 400 and "more memory than there is" not in outcome.error, name
                else:
                    assert left == [target], name
                    Image.open(target).load()
                    target.unlink()
                    restored += 1
    finally:
        faulthandler.cancel_dump_traceback_later()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES, f"{grown:.0f} MB"
    return restored


def test_the_seeds_are_restored(seeds, restorers):
    assert attack(seeds.items(), restorers) == 4 * len(seeds) - 2  # CMYK is not projected


def test_300_mutated_files(seeds, restorers):
    assert 200 < attack(mutated(seeds, 252), restorers) < 800
    tiny = seeds["tiny"]
    attack([(f"{length} bytes", tiny[:length]) for length in range(0, len(tiny), 14)], restorers)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_training_and_evaluation_read_them_or_say_why_not(seeds, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(LIMIT * 1e6))
    file, read = tmp_path / "hostile.jpg", 0
    for _, content in mutated(seeds, 252):
        file.write_bytes(content)
        try:
            pixels = load_image(file, "RGB")
        except UserError as error:
            assert "hostile.jpg" in str(error)
        else:
            read += 1
            assert pixels.ndim == 3 and pixels.shape[2] == 3
    assert 60 < read < 240


@pytest.mark.slow
def test_every_truncation(seeds, restorers):
    for name in ("tiny", "progressive"):
        stream = seeds[name]
        attack([(f"{length} bytes of {name}", stream[:length]) for length in range(len(stream))], restorers)


@pytest.mark.slow
def test_3000_mutated_files(seeds, restorers):
    assert attack(mutated(seeds, 3000), restorers) > 2000
