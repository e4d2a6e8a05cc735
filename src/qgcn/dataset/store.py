"""The image store: every training image decoded once into a memory-mapped uint8 file."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write
from qgcn.utils.image import load_image


class ImageStore:
    """Decoded images on disk, read as memory maps; picklable, so worker processes share its pages.

    Each image is one .npy file, named by its path, size and modification time and the colour mode. A changed image
    gets a new one, and the old one stays for runs that still read it. Files appear whole (temporary file, rename),
    so that processes which build the same store at once do no harm.

    Args:
        folder: where the store lies.
        mode: 'RGB' or 'L' (see utils.image.to_mode).

    Attributes:
        unreadable: a sentence for each file that was left out because it can't be read.
        dropped: the images that `keep` left out.
    """

    def __init__(self, folder: str | Path, mode: str):
        self.folder, self.mode = Path(folder), mode
        self.sources: list[Path] = []
        self.files: list[Path] = []
        self.shapes: list[tuple[int, int, int]] = []
        self.unreadable: list[str] = []
        self.dropped: list[Path] = []

    def add(self, paths: Sequence[Path], *, workers: int = 1, progress: bool = True) -> None:
        """Decode what is not stored yet and append all images that can be read in the order of ``paths``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            results = pool.map(self._store, paths)
            bar = tqdm(results, "decoding images", len(paths), disable=not progress, leave=False, delay=1)
            for source, result in zip(paths, bar, strict=True):
                if isinstance(result, UserError):
                    self.unreadable.append(str(result))
                else:
                    self.sources.append(source)
                    self.files.append(result[0])
                    self.shapes.append(result[1])

    def _store(self, path: Path) -> tuple[Path, tuple[int, int, int]] | UserError:
        """Make sure that ``path`` is stored: its file and shape, or why it can't be."""
        try:
            status = os.stat(path)
        except OSError as error:  # a link to nowhere, a file deleted meanwhile
            return UserError(f"the image {str(path)!r} can't be read: {error.strerror}")
        identity = hashlib.sha256(f"{path.resolve()}\n{self.mode}".encode(errors="surrogateescape")).hexdigest()[:32]
        file = self.folder / f"{identity}-{status.st_size}-{status.st_mtime_ns}.npy"
        try:
            return file, np.load(file, mmap_mode="r").shape
        except (FileNotFoundError, ValueError, EOFError):  # not stored yet, or damaged
            pass
        try:
            pixels = load_image(path, self.mode)
        except UserError as error:
            return error
        with atomic_write(file) as stream:
            np.save(stream, pixels)
        return file, pixels.shape

    def keep(self, chosen: Sequence[int]) -> None:
        """Leave out all images but those at the positions ``chosen`` (their files stay)."""
        kept = set(chosen)
        self.dropped += [source for i, source in enumerate(self.sources) if i not in kept]
        for values in (self.sources, self.files, self.shapes):
            values[:] = [values[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        """Image ``index`` as uint8, H x W x C, mapped from disk."""
        return _mapped(self.files[index])


@lru_cache(4096)  # memory maps that one process keeps open; Linux allows 65,530
def _mapped(file: Path) -> np.ndarray:
    return np.asarray(np.load(file, mmap_mode="r"))  # a plain view: np.memmap's own slices take ten times as long
