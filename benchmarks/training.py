"""Training steps a second against a plain eager NCHW loop, and what the loader takes of a step.

    python benchmarks/training.py
    python benchmarks/training.py --cuda --batch 64

Each way is a step of training: input assembled from uint8, forward, L1 loss, backward, Adam. The plain loop gets its
batches ready; 'with loader' adds the DataLoader of training and its worker.
"""

import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from side_by_side import print_table, take_turns

from qgcn.cli import params, run

NETWORKS = {
    "QCN, 8 blocks of 48": ("qmar", {"n_feats": 48, "n_resblocks": 8}),
    "QGCN, 12 blocks of 48": ("qmarg", {"n_feats": 48, "n_resblocks": 12, "global_feats": 8, "global_hidden": 64}),
    "QCN, 64 blocks of 64": ("qmar", {}),
    "QGCN, 64 blocks of 64": ("qmarg", {}),
}
WAYS = {
    "eager, NCHW, fp32": {},
    "channels_last": {"channels_last": True},
    "bf16": {"channels_last": True, "bf16": True},
    "bf16, with loader": {"channels_last": True, "bf16": True, "loader": True},
    "bf16, torch.compile": {"channels_last": True, "bf16": True, "compile": True},
    "bf16, --accumulate 4": {"channels_last": True, "bf16": True, "accumulate": 4},
}
"""What a column is called -> how it differs; the first is what the others are compared with."""


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    whole = params().number(int, 1)
    parser = params().Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=whole, default=8, help="samples a step")
    parser.add_argument("--steps", type=whole, default=4, help="steps a turn")
    parser.add_argument("--rounds", type=whole, default=5, help="turns of each way; the median counts")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--cuda", action="store_true", help="on the first NVIDIA GPU")
    options = parser.parse_args(argv)

    import numpy as np
    import torch
    from skimage.data import astronaut
    from torch.utils.data import DataLoader

    from qgcn import nets
    from qgcn.dataset.crops import CompressedCrops, SampleKey, StepSampler
    from qgcn.dataset.degradation import Published
    from qgcn.dataset.inputs import get_input
    from qgcn.dataset.store import ImageStore
    from qgcn.jpeg.codec import PillowCodec
    from qgcn.training.data import as_is
    from qgcn.training.epoch import build_loss, train_one_epoch
    from qgcn.utils.image import save_png

    device = torch.device("cuda:0" if options.cuda else "cpu")
    print(f"{torch.get_num_threads()} threads, {device}, torch {torch.__version__}, batch {options.batch} of 64 x 64\n")

    with tempfile.TemporaryDirectory() as folder:
        save_png(f"{folder}/photograph.png", np.asarray(astronaut()))
        store = ImageStore(f"{folder}/store", "RGB")
        store.add([Path(f"{folder}/photograph.png")], progress=False)
        data = CompressedCrops(images=store, size=64, seed=0, degradation=Published((1, 100), "RGB", PillowCodec()))
        ready = data.__getitems__([SampleKey(0, i, 0, 1 / options.batch) for i in range(options.batch)])
        sampler = StepSampler(crops=np.array([1]), samples=options.batch * options.steps, batch=options.batch, seed=0)
        loaded = DataLoader(
            data, batch_sampler=sampler, collate_fn=as_is, num_workers=1, persistent_workers=True,
        )  # fmt: skip

        def way(network_name: str, *, channels_last=False, bf16=False, loader=False, compile=False, accumulate=1):
            name, changes = NETWORKS[network_name]
            torch.manual_seed(0)
            network = nets.build(name, {"in_channel": 5, "out_channel": 3} | changes)
            nets.initialise(network, "identity")
            network.to(device, memory_format=torch.channels_last if channels_last else torch.contiguous_format)
            if not channels_last:  # batches come in channels last, which convolutions would follow
                network.register_forward_pre_hook(lambda _, inputs: _contiguous(inputs))
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
            called = torch.compile(network) if compile else network

            def turn() -> None:
                train_one_epoch(
                    called, get_input(nets.kind(name).input), loaded if loader else [ready] * options.steps,
                    build_loss("L1"), optimizer, device=device,
                    autocast=torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext(),
                    accumulate=accumulate, before_step=lambda: None, after_step=lambda *_: True,
                )  # fmt: skip

            return turn

        rows = []
        for network_name in options.networks:
            seconds = take_turns({key: way(network_name, **WAYS[key]) for key in options.ways}, options.rounds)
            first = seconds[options.ways[0]]
            rows.append(
                [network_name, round(options.batch * options.steps / first, 1)]
                + [f"{first / seconds[key]:.2f}" for key in options.ways[1:]]
            )
            print(f"{network_name} is done", flush=True)
    print()
    print_table(["network", f"{options.ways[0]}: samples/s", *(f"{key}: ratio" for key in options.ways[1:])], rows)
    return 0


def _contiguous(inputs):
    return tuple(_contiguous(one) if isinstance(one, tuple) else one.contiguous() for one in inputs)


if __name__ == "__main__":
    sys.exit(run(main))
