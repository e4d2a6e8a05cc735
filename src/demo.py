"""`make demo`: restore and evaluate scikit-image's photographs with the shipped QGCN and show the difference."""

import sys
from pathlib import Path

from qgcn.cli import params, run

QUALITY = 10
FOLDER = Path("results") / "demo"
CROP = (96, 96)


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    options = params().demo_parser().parse_args(argv)

    import torch
    from tqdm import tqdm

    from qgcn.evaluating import evaluate as evaluation
    from qgcn.evaluating.metrics import get_protocol
    from qgcn.jpeg.codec import get_codec
    from qgcn.paper.pictures import comparison, largest_gain, stack
    from qgcn.restoring.model import load_model, shipped_checkpoints
    from qgcn.utils.image import load_image, save_pillow

    path = options.model or shipped_checkpoints("RGB", input_name="jpeg_qmg")[0]
    model = load_model(path, torch.device("cpu"))
    files, _ = evaluation.find_images("sample", "")
    codec, protocol = get_codec("pillow"), get_protocol("published")
    metrics = protocol.metrics("sample", model.color_mode)
    rows, shown = [], []
    for file in tqdm(files, "restoring", leave=False):
        truth = load_image(file, model.color_mode)
        pictures, row = evaluation.evaluate_image(
            truth, model, quality=QUALITY, codec=codec, padded=model.input.takes_tables, metrics=metrics
        )
        rows.append({"name": file.name, **row})
        box = largest_gain(truth, pictures["compressed"], pictures["restored"], CROP)
        shown.append(
            comparison(truth, {f"JPEG {QUALITY}": pictures["compressed"], model.title: pictures["restored"]}, box)
        )
    outcome = evaluation.result(
        rows,
        data=f"sample {model.color_mode}",
        quality=QUALITY,
        codec=codec.name,
        protocol=protocol.describe("sample", model.color_mode),
        net=model.title,
    )
    print(evaluation.text_table(outcome))
    target = FOLDER / "comparison.png"
    save_pillow(target, stack(shown))
    print(f"\nthe comparison picture is {target}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
