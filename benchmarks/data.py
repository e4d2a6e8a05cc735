"""Training samples a second: this project's loaders, the published way, and the limit that Pillow sets.

    python benchmarks/data.py --images data/DIV2K/DIV2K_train_HR

- published: for every crop the whole file is decoded with scikit-image, the crop goes through a JPEG in memory, the
  tables are tiled over it, and ``skimage.transform.resize`` makes the global image, all for one sample at a time.
- limit: nothing but Pillow's encoding and decoding of crops that lie ready; with --degradation real, which has finer
  tables and more chroma, those crops with their tables and samplings (4:2:2 for 4:4:0).
- ours: the DataLoader of training with one worker process, batches assembled as for a training step.
"""

import sys
import tempfile
from io import BytesIO

import numpy as np
from side_by_side import print_table, take_turns

from qgcn.cli import params, run
from qgcn.dataset.inputs import get_input


def published_sample(path, size: int, quality: int, random: np.random.Generator, *, with_global: bool):
    """One sample the published way: compressed crop, maps (and global image), ground truth as float tensors."""
    import torch
    from PIL import Image
    from skimage import io
    from skimage.transform import resize

    from qgcn.jpeg.tables import quantization_tables

    image = io.imread(path)
    top, left = random.integers(image.shape[0] - size + 1), random.integers(image.shape[1] - size + 1)
    crop = np.ascontiguousarray(np.rot90(image[top : top + size, left : left + size], random.integers(4)))
    stream = BytesIO()
    Image.fromarray(crop).save(stream, "JPEG", quality=quality)
    opened = Image.open(stream)
    tables = quantization_tables(opened)
    compressed = np.asarray(opened)
    maps = np.stack([np.tile(table, (size // 8, size // 8)) for table in tables], 2)
    parts = [np.concatenate([compressed, maps], 2) / 255, crop / 255]
    if with_global:
        parts.append(resize(compressed, (112, 112), order=3))
    return [(torch.from_numpy(part.transpose(2, 0, 1)).float() - 0.5) / 0.5 for part in parts]


def main(argv: list[str] | None = None) -> int:
    """Measure and print as ``argv`` (default: the command line) says; returns the exit code."""
    whole = params().number(int, 1)
    parser = params().Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", required=True, metavar="FOLDER", help="training images")
    parser.add_argument("--store", default="", metavar="FOLDER", help="image store (default: a temporary one)")
    parser.add_argument("--count", type=whole, default=100, help="use the first images alone")
    parser.add_argument("--batch", type=whole, default=16, help="samples a batch")
    parser.add_argument(
        "--samples",
        type=whole,
        default=4096,
        help="samples a round and side; the published way fewer",
    )
    parser.add_argument("--rounds", type=whole, default=7, help="rounds; the median counts")
    options = parser.parse_args(argv)

    import torch
    from PIL import Image
    from torch.utils.data import DataLoader

    from qgcn.dataset.crops import CompressedCrops, SampleKey, StepSampler, disjoint_crops
    from qgcn.dataset.degradation import Published, Real
    from qgcn.dataset.store import ImageStore
    from qgcn.jpeg.codec import PillowCodec, write_jpeg
    from qgcn.training.data import as_is
    from qgcn.utils.image import image_files

    size, few = 64, 32
    torch.set_num_threads(1)  # one core for each side, beside the worker
    files = image_files(options.images)[: options.count]
    with tempfile.TemporaryDirectory() as folder:
        store = ImageStore(options.store or folder, "RGB")
        store.add(files, progress=False)
        store.keep(np.flatnonzero(disjoint_crops(store.shapes, size)))
        random = np.random.default_rng(0)
        degradations = {"ours": Published((1, 100), "RGB", PillowCodec()), "real": Real((1, 100), "RGB")}
        sets = {
            name: CompressedCrops(images=store, size=size, seed=0, degradation=degradation)
            for name, degradation in degradations.items()
        }
        data = sets["ours"]
        crops = [data[SampleKey(0, i, i % len(store), 1.0)].ground_truth for i in range(1024)]
        real = [degradations["real"].draw(crop, 0, np.random.Philox(key=i))[:3] for i, crop in enumerate(crops)]

        def published(with_global: bool) -> None:
            for number in random.integers(len(store), size=few):
                path, quality = store.sources[number], int(random.integers(1, 101))
                published_sample(path, size, quality, random, with_global=with_global)

        def limit() -> None:
            for number in range(options.samples):
                stream = BytesIO()
                Image.fromarray(crops[number % len(crops)]).save(stream, "JPEG", quality=1 + number % 100)
                Image.open(stream).load()

        def limit_real() -> None:
            for number in range(options.samples):
                crop, tables, sampling = real[number % len(real)]
                stream = write_jpeg(Image.fromarray(crop), tables, sampling.replace("4:4:0", "4:2:2"))
                Image.open(BytesIO(stream)).load()

        sampler = StepSampler(
            crops=disjoint_crops(store.shapes, size), samples=options.samples, batch=options.batch, seed=0
        )
        batches = {
            name: DataLoader(data, batch_sampler=sampler, collate_fn=as_is, num_workers=1, persistent_workers=True)
            for name, data in sets.items()
        }

        def loaded(name: str) -> None:
            for _ in batches[name]:
                pass

        def assembled(name: str) -> None:
            loader = get_input(name)
            for samples in batches["ours"]:
                batch = samples.to(torch.device("cpu"))
                loader.assemble(batch.compressed, batch.tables, batch.reductions)

        seconds = take_turns(
            {
                "limit": limit,
                "limit real": limit_real,
                "ours": lambda: loaded("ours"),
                "real": lambda: loaded("real"),
                "jpeg_qm": lambda: assembled("jpeg_qm"),
                "jpeg_qmg": lambda: assembled("jpeg_qmg"),
                "published jpeg_qm": lambda: published(False),
                "published jpeg_qmg": lambda: published(True),
            },
            options.rounds,
        )
    rate = {name: (few if name.startswith("published") else options.samples) / value for name, value in seconds.items()}
    rows = [["Pillow alone: encode + decode", rate["limit"], "", "1"]]
    for name in ("jpeg_qm", "jpeg_qmg"):
        rows.append(
            [f"published way, {name}", rate[f"published {name}"], "1", rate[f"published {name}"] / rate["limit"]]
        )
    rows.append(["ours, uint8 batches from one worker", rate["ours"], "", rate["ours"] / rate["limit"]])
    rows.append(["Pillow alone, the JPEGs of --degradation real", rate["limit real"], "", "1"])
    rows.append(["ours, --degradation real", rate["real"], "", rate["real"] / rate["limit real"]])
    for name in ("jpeg_qm", "jpeg_qmg"):
        ratio = rate[name] / rate[f"published {name}"]
        rows.append([f"ours, {name}, input made for the whole batch", rate[name], ratio, rate[name] / rate["limit"]])
    print_table(["side", "samples/s", "times published", "times Pillow alone"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
