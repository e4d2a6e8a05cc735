"""How fast images are restored: megapixels a second of each backend, as a Markdown table.

    python benchmarks/restore.py
    python benchmarks/restore.py --random 64 --sizes 768x512
    python benchmarks/restore.py --cuda --sizes 4000x3000 --memory 4G

The ways take turns within one run, so that whatever else the machine does meets all of them; the median counts. All
use the same threads. Converting and calibrating are done before; each way restores each image once unmeasured.
"""

import re
import sys
from argparse import ArgumentTypeError
from functools import partial

from side_by_side import ROOT, take_turns

from qgcn.cli import params, run

WAYS = {
    "PyTorch, NCHW": {},
    "PyTorch": {},
    "PyTorch, torch.compile": {},
    "PyTorch, bf16": {"precision": "bf16"},
    "OpenVINO": {"backend": "openvino"},
    "OpenVINO, bf16": {"backend": "openvino", "precision": "bf16"},
    "OpenVINO, int8": {"backend": "openvino", "int8": True},
    "OpenVINO, int8 and bf16": {"backend": "openvino", "int8": True, "precision": "bf16"},
}
"""What a row is called -> keywords of backends.build; the first row is what the others are compared with.

'PyTorch' is what restore.py does by default, which is channels last.
"""


def size(text: str) -> tuple[int, int]:
    """'768x512' as width and height."""
    if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", text):
        raise ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 768x512")
    width, height = map(int, text.split("x"))
    return width, height


def build(way: str, content: dict, device):
    """The network of a checkpoint's content on a torch.device, run in the way of a row."""
    import torch

    from qgcn import backends, checkpoints

    if way == "PyTorch, NCHW":
        network = checkpoints.build_network(content).eval().to(device)
        # pixels of images come in channels last, which convolutions would follow
        network.register_forward_pre_hook(lambda _, inputs: _contiguous(inputs))
        return network
    network = backends.build(content, device, **WAYS[way])
    return torch.compile(network, dynamic=True) if way.endswith("compile") else network


def _contiguous(inputs):
    return tuple(_contiguous(one) if isinstance(one, tuple) else one.contiguous() for one in inputs)


def photograph(width: int, height: int, quality: int):
    """scikit-image's astronaut, resized, as a JPEG of a quality factor."""
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    from qgcn.jpeg.codec import PillowCodec

    picture = Image.fromarray(astronaut()).resize((width, height), Image.Resampling.BICUBIC)
    return PillowCodec().compress(np.asarray(picture), quality)


def random_checkpoint(blocks: int) -> dict:
    """A QCN of the paper's width, 64 features, with so many blocks and random weights."""
    from qgcn import checkpoints, nets

    arguments = {"in_channel": 5, "out_channel": 3, "n_feats": 64, "n_resblocks": blocks}
    network = nets.build("qmar", arguments)
    network.initialise_identity()
    return checkpoints.describe(network, "qmar", arguments, {"net": "qmar"}, 0)


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    whole = params().number(int, 1)
    parser = params().Parser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default=str(ROOT / "checkpoint" / "qcn_rgb.pth"), help="checkpoint")
    parser.add_argument("--random", type=whole, metavar="N", help="instead: QCN of N blocks, random weights")
    parser.add_argument("--sizes", type=size, nargs="+", default=[(768, 512), (4000, 3000)], help="WIDTHxHEIGHT ...")
    parser.add_argument("--repeat", type=whole, default=5, help="turns for each way; at most 3 for large images")
    parser.add_argument("--threads", type=whole, help="of every way (default: PyTorch's own)")
    parser.add_argument(
        "--memory", type=params().memory_size, help="for the network's features (default: restore.py's)"
    )
    parser.add_argument("--cuda", action="store_true", help="on the first NVIDIA GPU")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), help="rows (default: all that the device has)")
    options = parser.parse_args(argv)
    options.ways = options.ways or [way for way in WAYS if not (options.cuda and "backend" in WAYS[way])]

    import torch

    from qgcn import checkpoints, nets
    from qgcn.dataset.inputs import get_input
    from qgcn.restoring.tiles import restore_image, tile_side
    from qgcn.utils import distributed

    device = distributed.choose_device(options.cuda, [0])
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    content = random_checkpoint(options.random) if options.random else checkpoints.load(options.model)
    loader = get_input(nets.kind(content["net"]).input)
    if not nets.kind(content["net"]).network.int8_parts:  # of QGCN and AR-CNN
        options.ways = [way for way in options.ways if "int8" not in WAYS[way]]
    networks = {way: build(way, content, device) for way in options.ways}
    columns = {}
    for width, height in options.sizes:
        compressed = photograph(width, height, 10)
        megapixels = width * height / 1e6

        def restore(network, compressed=compressed) -> None:
            restore_image(network, loader, compressed, device=device, tile=tile_side(network, options.memory))

        seconds = take_turns(
            {way: partial(restore, network) for way, network in networks.items()},
            options.repeat if megapixels < 4 else min(options.repeat, 3),
        )
        columns[f"{width} x {height}"] = {way: megapixels / median for way, median in seconds.items()}
    title = nets.kind(content["net"]).title
    blocks, features = (content["arguments"].get(name) for name in ("n_resblocks", "n_feats"))
    print(
        f"{title}, {blocks} blocks of {features}, {torch.get_num_threads()} threads, {device}, megapixels a second:\n"
    )
    print("| | " + " | ".join(f"{name} | ratio" for name in columns) + " |")
    print("|---|" + "---|---|" * len(columns))
    first = options.ways[0]
    for way in networks:
        cells = (f"{speeds[way]:.2f} | {speeds[way] / speeds[first]:.1f}" for speeds in columns.values())
        print(f"| {way} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
