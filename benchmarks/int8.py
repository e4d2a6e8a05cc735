"""What bf16 and 8 bits cost: PSNR of each backend on a data set, and its loss against float32, as a Markdown table.

python benchmarks/int8.py --gtdata LIVE1 --dataroot data
"""

import sys

from side_by_side import ROOT

from qgcn.cli import params, run

WAYS = {
    "OpenVINO": {"backend": "openvino"},
    "OpenVINO, bf16": {"backend": "openvino", "precision": "bf16"},
    "OpenVINO, int8": {"backend": "openvino", "int8": True},
    "OpenVINO, int8 and bf16": {"backend": "openvino", "int8": True, "precision": "bf16"},
    "PyTorch, bf16": {"precision": "bf16"},
}
"""What a row is called -> keywords of model.load_model; the first row is what the others are compared with.

Its float32 equals PyTorch's to 1e-4 of the range of values (tests/test_backends.py), in half the time.
"""


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default=str(ROOT / "checkpoint" / "qcn_rgb.pth"), help="checkpoint")
    parser.add_argument("--gtdata", default="sample", help="data set or folder, as for eval.py")
    parser.add_argument("--dataroot", default="data", metavar="FOLDER", help="where the data sets lie")
    parser.add_argument("--quality", type=params().quality_list, default="10,20,30,40,50", help="quality factors")
    parser.add_argument("--images", type=params().number(int, 1), help="only so many images, spread over the set")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="rows")
    options = parser.parse_args(argv)

    from qgcn import checkpoints, nets
    from qgcn.evaluating.datasets import find_images
    from qgcn.evaluating.evaluate import evaluate, mean_row
    from qgcn.evaluating.metrics import get_protocol
    from qgcn.jpeg.codec import get_codec
    from qgcn.restoring.model import load_model

    files, root = find_images(options.gtdata, options.dataroot)
    files = files[:: -(-len(files) // options.images)] if options.images else files
    print(f"{options.gtdata}, {len(files)} images, PSNR in dB (difference from float32)\n")
    print("| | " + " | ".join(map(str, options.quality)) + " |")
    print("|---|" + "---|" * len(options.quality))
    reference = []
    if not nets.kind(checkpoints.load(options.model)["net"]).network.int8_parts:  # of QGCN and AR-CNN
        options.ways = [way for way in options.ways if "int8" not in WAYS[way]]
    for way in options.ways:
        model = load_model(options.model, **WAYS[way])
        metrics = {"psnr": get_protocol("published").metrics()["psnr"]}
        values = []
        for quality in options.quality:
            rows = evaluate(
                files, model, mode=model.color_mode, quality=quality, codec=get_codec("pillow"), metrics=metrics,
                root=root,
            )  # fmt: skip
            values.append(mean_row(rows)["restored"]["psnr"])
        reference = reference or values
        cells = (f"{value:.3f} ({value - first:+.3f})" for value, first in zip(values, reference, strict=True))
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
