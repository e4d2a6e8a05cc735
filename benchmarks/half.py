"""What convert.py --half costs: the PSNR of checkpoints in float32, and what float16 changes, as a Markdown table.

python benchmarks/half.py run/model_last.pth --gtdata LIVE1 --dataroot data
"""

import sys

import side_by_side  # noqa: F401 (says where the modules below lie)

from qgcn.cli import params, run


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", metavar="MODEL", help="checkpoints whose weights are float32")
    parser.add_argument("--gtdata", default="sample", help="data set or folder, as for eval.py")
    parser.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    parser.add_argument("--quality", type=params().quality_list, default="10,50,90", help="quality factors")
    parser.add_argument("--images", type=params().number(int, 1), help="only so many images, spread over the set")
    options = parser.parse_args(argv)

    from pathlib import Path

    from side_by_side import print_table

    from qgcn import checkpoints
    from qgcn.checkpoints.sharing import halved
    from qgcn.evaluating.datasets import find_images
    from qgcn.evaluating.evaluate import evaluate, mean_row
    from qgcn.evaluating.metrics import psnr
    from qgcn.jpeg.codec import get_codec
    from qgcn.restoring.model import load_model

    files, root = find_images(options.gtdata, options.dataroot)
    files = files[:: -(-len(files) // options.images)] if options.images else files
    print(f"{options.gtdata}, {len(files)} images, PSNR in dB (change by float16)\n")
    rows, largest = [], 0.0
    for path in options.models:
        model = load_model(path)
        states = checkpoints.load(path)["model"], halved(checkpoints.load(path)["model"])
        cells = []
        for quality in options.quality:
            means = []
            for state in states:
                model.network.load_state_dict(state)
                made = {"mode": model.color_mode, "quality": quality, "codec": get_codec("pillow")}
                found = evaluate(files, model, metrics={"psnr": psnr}, root=root, progress=True, **made)
                means.append(mean_row(found)["restored"]["psnr"])
            cells.append(f"{means[0]:.3f} ({means[1] - means[0]:+.4f})")
            largest = max(largest, abs(means[1] - means[0]))
        rows.append([Path(path).name, *cells])
    print_table(["", *map(str, options.quality)], rows)
    print(f"\nlargest change: {largest:.4f} dB")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
