"""Peak memory of restoring a large JPEG with each backend, and what the halo of the tiles costs.

    python benchmarks/memory.py --megapixels 100

Peak memory is the largest resident set of a restore.py of its own. The second table is arithmetic: the pixels that go
through the network for each pixel of the result.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import ROOT, print_table

from qgcn.cli import params, run

WAYS = {
    "torch": [],
    "torch, bf16": ["--precision", "bf16"],
    "openvino": ["--backend", "openvino"],
    "openvino, int8": ["--backend", "openvino", "--int8"],
}


def large_jpeg(path: Path, megapixels: float) -> None:
    """A JPEG 4:3 of scikit-image's astronaut side by side."""
    from PIL import Image
    from skimage.data import astronaut

    width, height = (round(1000 * (megapixels * ratio) ** 0.5) for ratio in (4 / 3, 3 / 4))
    photograph = Image.fromarray(astronaut()).resize((2000, 2000), Image.Resampling.BICUBIC)
    picture = Image.new("RGB", (width, height))
    for top in range(0, height, 2000):
        for left in range(0, width, 2000):
            picture.paste(photograph, (left, top))
    picture.save(path, quality=30)


def restore(words: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of one restore.py."""
    start = time.perf_counter()
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, str(ROOT / "src" / "restore.py"), *words])
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(f"restore.py {' '.join(words)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    parser = params().Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="", help="checkpoint (default: the one that restore.py takes)")
    parser.add_argument(
        "--megapixels", type=params().number(float, 0, above=True), default=100.0, help="size of the JPEG"
    )
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS), help="rows")
    options = parser.parse_args(argv)

    import torch

    from qgcn import nets
    from qgcn.restoring.model import load_model, shipped_checkpoints
    from qgcn.restoring.tiles import MEMORY, tile_halo, tile_side

    path = options.model or shipped_checkpoints("RGB")[0]
    own = load_model(path, torch.device("cpu")).network
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "large.jpg"), Path(folder, "large.png")
        large_jpeg(source, options.megapixels)
        rows = []
        for way in options.ways:
            words = [str(source), "-o", str(target), "--overwrite", "--model", str(path), *WAYS[way]]
            seconds, peak = restore(words)
            rows.append([way, round(peak), round(options.megapixels / seconds, 2)])
            print(f"{way}: {peak:.0f} MB, {seconds:.0f} s", file=sys.stderr, flush=True)
    print_table(["backend", f"peak MB, {options.megapixels:g} megapixels", "megapixels/s"], rows)

    arguments = {"in_channel": 5, "out_channel": 3, "n_feats": 64, "n_resblocks": 64}
    networks = {
        Path(path).name: own,
        "QCN, 64 blocks of 64": nets.build("qmar", arguments),
        "QGCN, 64 blocks of 64": nets.build("qmarg", arguments),
    }
    print()
    rows = []
    for name, network in networks.items():
        for memory in (None, 1e9, 4e9):
            tile = tile_side(network, memory)
            label = f"default ({MEMORY / 1e6:g}M)" if memory is None else f"{memory / 1e9:g}G"
            rows.append([name, tile_halo(network), label, tile, round((1 + 2 * tile_halo(network) / tile) ** 2, 2)])
    print_table(["network", "halo, pixels", "--memory", "tile, pixels", "times the work without tiles"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
