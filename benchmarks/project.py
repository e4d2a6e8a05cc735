"""What `restore.py --project` changes: coefficients that the file rules out, and PSNR, as Markdown."""

import sys
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
from PIL import Image

from qgcn.cli import params, run
from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.metrics import psnr
from qgcn.jpeg.library import require_jpeglib
from qgcn.jpeg.projection import project, read_coefficients, share_kept
from qgcn.restoring.model import load_model, shipped_checkpoints
from qgcn.restoring.restorer import Restorer
from qgcn.restoring.tiles import to_bytes
from qgcn.utils import distributed
from qgcn.utils.image import load_image

COLUMNS = {
    "restored": "outside, restored",
    "projected": "outside, projected",
    "rounded": "kept when rounded to 8 bits",
}


def measure(photo: np.ndarray, quality: int, restorers: list[Restorer]) -> dict[str, float]:
    """Shares of coefficients in per cent and PSNR in dB for one photograph (uint8, H x W x 3)."""
    stream = BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    file = read_coefficients(stream.getvalue())
    plain, ensemble = (restorer.restore_picture(stream.getvalue(), dtype=np.float32).pixels for restorer in restorers)
    projected = project(plain, file)
    pictures = {
        "JPEG": np.asarray(Image.open(stream)),
        "restored": to_bytes(plain),
        "projected": to_bytes(projected),
        "self-ensemble": to_bytes(ensemble),
        "self-ensemble, projected": to_bytes(project(ensemble, file)),
    }
    return {
        COLUMNS["restored"]: 100 * (1 - share_kept(plain, file)),
        COLUMNS["projected"]: 100 * (1 - share_kept(projected, file)),
        COLUMNS["rounded"]: 100 * share_kept(to_bytes(projected).astype(np.float32), file),
    } | {name: psnr(picture, photo) for name, picture in pictures.items()}


def main(argv: list[str] | None = None) -> int:
    """Measure as ``argv`` (default: the command line) says; returns the exit code."""
    options = params().projection_benchmark_parser().parse_args(argv)
    require_jpeglib("this benchmark")
    files, _ = find_images(options.gtdata, options.dataroot)
    device = distributed.choose_device(options.cuda, options.gpus)
    model = load_model(options.model or shipped_checkpoints("RGB")[0], device)
    restorers = [Restorer(model, self_ensemble=together) for together in (False, True)]
    for number, quality in enumerate(options.quality):
        rows = [measure(load_image(file, "RGB"), quality, restorers) for file in files]
        if not number:
            print("| quality | " + " | ".join(rows[0]) + " |\n" + "|---" * (len(rows[0]) + 1) + "|")
        means = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
        cells = [f"{value:.2f}" + (" %" if name in COLUMNS.values() else "") for name, value in means.items()]
        print(f"| {quality} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
