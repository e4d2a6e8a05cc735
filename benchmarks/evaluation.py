"""Metrics and a whole evaluation against the published way.

    python benchmarks/evaluation.py --gtdata LIVE1

The published way: SSIM by five ``scipy.signal.convolve2d`` with an 8x8 window a channel, PSNR-B by loops over rows and
columns, one image after another, metrics in the thread that runs the network.
"""

import math
import sys
from pathlib import Path

import numpy as np
from side_by_side import print_table, take_turns

from qgcn.cli import params, run


def published_ssim(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """SSIM, 8x8 uniform window at valid positions, population covariance, by direct convolution (float64)."""
    from scipy.signal import convolve2d

    window = np.full((8, 8), 1 / 64)
    values = []
    for channel in range(image.shape[2]):
        x, y = image[..., channel].astype(float), ground_truth[..., channel].astype(float)
        means = [convolve2d(plane, window, "valid") for plane in (x, y, x * x, y * y, x * y)]
        mu_x, mu_y = means[0], means[1]
        var_x, var_y, cov = means[2] - mu_x**2, means[3] - mu_y**2, means[4] - mu_x * mu_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        values.append(
            ((2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))).mean()
        )
    return float(np.mean(values))


def published_psnr_b(image: np.ndarray, ground_truth: np.ndarray) -> float:
    """PSNR-B with boundaries visited one row or column at a time (float64)."""
    x = image.astype(float)
    height, width, _ = x.shape
    boundary = other = 0.0
    for column in range(width - 1):
        error = ((x[:, column] - x[:, column + 1]) ** 2).sum()
        boundary, other = (boundary + error, other) if column % 8 == 7 else (boundary, other + error)
    for row in range(height - 1):
        error = ((x[row] - x[row + 1]) ** 2).sum()
        boundary, other = (boundary + error, other) if row % 8 == 7 else (boundary, other + error)
    pairs = height * (width / 8 - 1) + width * (height / 8 - 1)
    others = height * (width - 1) + width * (height - 1) - pairs
    excess = boundary / pairs - other / others
    factor = math.log2(8) / math.log2(min(height, width)) * excess if excess > 0 else 0.0
    return 10 * math.log10(255**2 / (((x - ground_truth) ** 2).mean() + factor))


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    parser.add_argument("--gtdata", default="LIVE1", help="data set or folder of images")
    parser.add_argument("--quality", type=params().quality_list, default="10,20,30,40,50", help="quality factors")
    parser.add_argument("--model", default="", help="checkpoint for the second table (default: the shipped one)")
    parser.add_argument("--images", type=params().number(int, 1), help="the first images alone")
    parser.add_argument("--rounds", type=params().number(int, 1), default=3, help="rounds; the median counts")
    options = parser.parse_args(argv)

    import torch

    from qgcn.evaluating.datasets import find_images
    from qgcn.evaluating.evaluate import evaluate
    from qgcn.evaluating.metrics import get_protocol, psnr, psnr_b, ssim
    from qgcn.jpeg.codec import PillowCodec
    from qgcn.restoring.model import load_model, shipped_checkpoints
    from qgcn.utils.image import load_image

    files, root = find_images(options.gtdata, options.dataroot)
    files = files[: options.images]
    codec = PillowCodec()
    truths = [load_image(file, "RGB") for file in files]
    images = [codec.compress(truth, 10).pixels for truth in truths]
    pairs = list(zip(images, truths, strict=True))
    for image, truth in pairs[:3]:  # the same figures
        assert abs(published_ssim(image, truth) - ssim(image, truth)) < 1e-9
        assert abs(published_psnr_b(image, truth) - psnr_b(image, truth)) < 1e-9

    def side(ssim_function, psnr_b_function):
        return lambda: [(psnr(*pair), ssim_function(*pair), psnr_b_function(*pair)) for pair in pairs]

    seconds = take_turns(
        {"published": side(published_ssim, published_psnr_b), "ours": side(ssim, psnr_b)}, options.rounds, warm_up=False
    )
    print_table(
        [f"metrics of {len(pairs)} images of {options.gtdata}", "ms an image", "ratio"],
        [[name, 1000 * value / len(pairs), seconds["published"] / value] for name, value in seconds.items()],
    )

    model = load_model(options.model or shipped_checkpoints("RGB")[0], torch.device("cpu"))

    def run(metrics, workers: int) -> None:
        for quality in options.quality:
            evaluate(
                files, model, mode="RGB", quality=quality, codec=codec, metrics=metrics, workers=workers, root=root
            )

    metrics = get_protocol("published").metrics()
    slow = {"psnr": psnr, "ssim": published_ssim, "psnr_b": published_psnr_b}
    seconds = take_turns(
        {
            "published metrics": lambda: run(slow, 0),
            "ours": lambda: run(metrics, 0),
            "ours, 1 worker thread": lambda: run(metrics, 1),
        },
        1,
        warm_up=False,
    )
    print()
    first = next(iter(seconds.values()))
    print_table(
        [f"{options.gtdata}, {len(options.quality)} qualities, {Path(model.source).name}", "seconds", "ratio"],
        [[name, value, first / value] for name, value in seconds.items()],
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
