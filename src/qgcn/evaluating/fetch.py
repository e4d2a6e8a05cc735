"""Fetch data sets from their official addresses and lay them out as training and evaluation expect."""

import gzip
import shutil
import socket
import sys
import tarfile
import tempfile
import zipfile
import zlib
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from qgcn.evaluating.datasets import DATASETS, find_images
from qgcn.utils.errors import UserError, check_choice


@dataclass(frozen=True)
class Archive:
    """One archive of a data set.

    Attributes:
        url: its official address.
        inside: the folder in the archive that holds the images.
        place: where they go, below the data root.
        images: how many there are.
        md5, size: of the archive, where known.
    """

    url: str
    inside: str
    place: str
    images: int
    md5: str | None = None
    size: int | None = None


DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
BSDS500 = "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/BSR_bsds500.tgz"

ARCHIVES = {
    "DIV2K": (
        Archive(
            f"{DIV2K}/DIV2K_train_HR.zip", "DIV2K_train_HR", "DIV2K/DIV2K_train_HR", 800,
            "bdc2d9338d4e574fe81bf7d158758658", 3_530_603_713,
        ),
        Archive(
            f"{DIV2K}/DIV2K_valid_HR.zip", "DIV2K_valid_HR", DATASETS["DIV2K"][0], 100,
            "9fcdda83005c5e5997799b69f955ff88",
        ),
    ),
    "BSDS500": (Archive(BSDS500, "BSR/BSDS500/data/images/test", DATASETS["BSDS500"][0], 200),),
}  # fmt: skip

# Data sets without an address that a program may fetch from, and what to do instead.
BY_HAND = {
    "LIVE1": "the LIVE Image Quality Assessment Database release 2 is given on request at "
    "https://live.ece.utexas.edu/research/quality/subjective.htm; put the 29 images of its folder refimgs into {place}",
    "Classic5": "the five gray images come with the test code of AR-CNN, "
    "http://mmlab.ie.cuhk.edu.hk/projects/ARCNN.html; put them into {place}",
}

IMAGE_SUFFIXES = (".png", ".jpg", ".bmp")
PATIENCE = 60  # seconds without a byte after which a server counts as gone


def main(options: Namespace) -> int:
    """Fetch what params.fetch_parser's options name; returns the exit code."""
    root = Path(options.to)
    for name in options.data:
        check_choice(name, ARCHIVES | BY_HAND, "the data set")
    for name in options.data:
        for archive in ARCHIVES.get(name, ()):
            fetch(archive, root, options.mirror)
    code = 0
    for name in filter(BY_HAND.get, options.data):
        try:
            files, folder = find_images(name, root)
            print(f"{folder}: {len(files)} images are in place")
        except UserError:
            how, code = BY_HAND[name].format(place=root / name), 2
            print(f"error: {name} must be fetched by hand: {how}", file=sys.stderr)
    return code


def fetch(archive: Archive, root: Path, mirror: str = "") -> None:
    """Download, check and unpack one archive; what is already in place is left alone.

    The images appear in their place all at once. A download that breaks is thrown away and said; calling again
    starts it anew.

    Args:
        mirror: address of a folder that holds the same archives, instead of the official address.

    Raises:
        UserError: if it can't be downloaded, fails its checks, or would write outside its folder.
    """
    from http.client import HTTPException

    from torchvision.datasets.utils import check_md5, download_url

    place = root / archive.place
    if _images(place) == archive.images:
        print(f"{place}: {archive.images} images are in place")
        return
    if place.exists():
        raise UserError(
            f"{str(place)!r} holds {_images(place)} images instead of {archive.images}: move it away to fetch it anew"
        )
    name = PurePosixPath(archive.url).name
    url = f"{mirror.rstrip('/')}/{name}" if mirror else archive.url
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetch-") as temporary:
        file, unpacked = Path(temporary, name), Path(temporary, "unpacked")
        print(f"fetching {url}")
        previous = socket.getdefaulttimeout()
        socket.setdefaulttimeout(PATIENCE)  # download_url has no argument for it
        try:
            download_url(url, temporary, name)
        except (HTTPException, OSError, ValueError, RuntimeError) as error:
            raise UserError(f"{url} can't be fetched: {error}; try again, or a --mirror") from None
        finally:
            socket.setdefaulttimeout(previous)
        if archive.size not in (None, file.stat().st_size):
            raise UserError(f"{url} gave {file.stat().st_size} bytes instead of {archive.size}: try again")
        if archive.md5 and not check_md5(str(file), archive.md5):
            raise UserError(f"{url} does not have the MD5 checksum {archive.md5}: try again, or another --mirror")
        unpack(file, unpacked)
        images = unpacked / archive.inside
        if _images(images) != archive.images:
            raise UserError(f"{url} holds {_images(images)} images in {archive.inside} instead of {archive.images}")
        images.rename(place)
    print(f"{place}: {archive.images} images")


def unpack(file: Path, folder: Path) -> None:
    """Unpack a zip or gzipped tar archive into a new folder, and nothing outside it.

    Raises:
        UserError: if the archive is damaged, or names a path outside the folder, a device, or a link that leaves it.
    """
    folder.mkdir()
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    parts = PurePosixPath(name.replace("\\", "/"))
                    if parts.is_absolute() or ".." in parts.parts or ":" in "".join(parts.parts[:1]):
                        raise UserError(f"{file.name} names {name!r}, outside its folder: it is refused")
                archive.extractall(folder)
        else:
            with gzip.open(file) as stream:  # its checksum stands at its end, which tarfile does not read
                while stream.read(1 << 20):
                    pass
            with tarfile.open(file, "r:gz") as archive:
                archive.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise UserError(f"{file.name} is refused: {error}") from None
    except UserError:
        raise
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        shutil.rmtree(folder)
        raise UserError(f"{file.name} is damaged ({error}): try again") from None


def _images(folder: Path) -> int:
    """How many images lie in ``folder`` itself."""
    return sum(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()) if folder.is_dir() else 0
