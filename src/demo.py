"""`make demo`: restore and evaluate scikit-image's photographs with the shipped checkpoint and show the difference."""

import sys
from pathlib import Path

from program import params, run

QUALITY = 10
FOLDER = Path("results") / "demo"
CROP = (96, 96)


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    options = params().demo_parser().parse_args(argv)

    import torch
    from tqdm import tqdm

    import evaluation
    from jpeg.codec import PillowCodec
    from model import load_model, shipped_checkpoint
    from pictures import comparison, largest_gain, stack
    from utils.files import atomic_write
    from utils.image import load_image

    model = load_model(options.model or shipped_checkpoint("RGB"), torch.device("cpu"))
    files, _ = evaluation.find_images("sample", "")
    rows, shown = [], []
    for file in tqdm(files, "restoring", leave=False):
        truth = load_image(file, model.color_mode)
        pictures, row = evaluation.evaluate_image(
            truth, model, quality=QUALITY, codec=PillowCodec(), padded=model.loader != "jpeg"
        )
        rows.append({"name": file.name, **row})
        box = largest_gain(truth, pictures["compressed"], pictures["restored"], CROP)
        shown.append(
            comparison(truth, {f"JPEG {QUALITY}": pictures["compressed"], model.title: pictures["restored"]}, box)
        )
    print(
        evaluation.text_table(
            evaluation.result(rows, data="sample RGB", quality=QUALITY, codec=PillowCodec().name, net=model.title)
        )
    )
    target = FOLDER / "comparison.png"
    with atomic_write(target) as file:
        stack(shown).save(file, "PNG")
    print(f"\nthe comparison picture is {target}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
