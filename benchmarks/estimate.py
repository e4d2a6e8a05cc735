"""How often `restore.py --estimate` finds the grid and the quality of a picture that was a JPEG once, as Markdown."""

import sys
import time
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
from PIL import Image

from qgcn.cli import params, run
from qgcn.evaluating.datasets import find_images
from qgcn.jpeg.estimation import Estimate, estimate
from qgcn.utils.image import load_image

NEAR = 2
"""A quality is found if it is at most so far off."""


def attempt(pixels: np.ndarray) -> Estimate | None:
    """The estimate, or None where it is not certain."""
    try:
        return estimate(pixels)
    except ValueError:
        return None


def main(argv: list[str] | None = None) -> int:
    """Measure as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().estimation_benchmark_parser().parse_args(argv)
    files, _ = find_images(options.gtdata, options.dataroot)
    photos = [load_image(file, "RGB") for file in files]
    generator = np.random.default_rng(0)
    start, calls = time.perf_counter(), 0
    print("| quality | grid, aligned | quality, aligned | grid, cropped | quality, cropped |")
    print("|---|---|---|---|---|")
    total = np.zeros(4, int)
    for quality in options.quality:
        right = np.zeros(4, int)
        for photo in photos:
            stream = BytesIO()
            Image.fromarray(photo).save(stream, "JPEG", quality=quality)
            decoded = np.asarray(Image.open(stream))
            crops = (0, 0), tuple(map(int, generator.integers(0, 8, 2)))
            for number, (top, left) in enumerate(crops):
                found, calls = attempt(decoded[top:, left:]), calls + 1
                if found:
                    right[2 * number] += found.offset == (-top % 8, -left % 8)
                    right[2 * number + 1] += abs(found.quality - quality) <= NEAR and not found.turned
        print(f"| {quality} | " + " | ".join(f"{value}/{len(photos)}" for value in right) + " |", flush=True)
        total += right
    print("| all | " + " | ".join(f"{value}/{len(photos) * len(options.quality)}" for value in total) + " |")
    seconds = (time.perf_counter() - start) / calls
    false = sum(attempt(photo) is not None for photo in photos)
    print(f"\nfalse alarms on pictures as they are: {false}/{len(photos)}; {seconds:.2f} s a picture with compression")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
