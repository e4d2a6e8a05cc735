"""The one evaluation: images -> rows of metrics -> table, CSV, JSON and pictures, by the published protocol."""

import csv
import io
import json
import math
import os
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np

from qgcn.evaluating.metrics import Metrics, get_protocol
from qgcn.evaluating.scoring import Prepared, ThisProcess, prepare, prepare_file, score, scoring_workers
from qgcn.jpeg.codec import Codec, Compressed, get_codec
from qgcn.restoring.model import Model, load_model, shipped_checkpoints
from qgcn.restoring.tiles import to_bytes
from qgcn.utils import distributed
from qgcn.utils.errors import UserError
from qgcn.utils.files import check_output, check_writable, name_of, write_text
from qgcn.utils.image import check_color_mode, image_files, output_names, sample_photographs

RESULTS = Path("results")

LOOK_AHEAD = 8
"""Images that worker processes may prepare and score ahead of and behind the network."""

FEW_IMAGES = 16
"""Fewer images are evaluated without worker processes, which take a second to start."""

DATASETS = {
    "LIVE1": ("LIVE1/refimgs", "LIVE1", "live1"),
    "BSDS500": (
        "BSDS500/test",
        "BSDS500/images/test",
        "BSDS500/data/images/test",
        "BSR/BSDS500/data/images/test",
    ),
    "DIV2K": ("DIV2K/DIV2K_valid_HR", "DIV2K_valid_HR"),
    "Classic5": ("Classic5", "classic5"),
}
"""Data set -> where its images may lie under --dataroot; the first that exists is used. None holds other images, too
(a release's training or distorted ones)."""

SCRIPTS = {"jpeg": "eval.py", "jpeg_qm": "eval_qm.py", "jpeg_qm_plus": "eval_qm.py", "jpeg_qmg": "eval_qmg.py"}
"""A network's loader -> the script that evaluates it."""

HEADERS = {"psnr": "PSNR", "ssim": "SSIM", "psnr_b": "PSNR-B"}
DIGITS = {"psnr": 2, "ssim": 4, "psnr_b": 2}

Row = dict[str, Any]
"""{"name", "compressed": {metric: value}, "restored": {metric: value} or None}, as in the JSON."""


# ------------------------------------------------------------------------------------------ measurements


def restore_compressed(model: Model, compressed: Compressed) -> np.ndarray:
    """The restored image as uint8, H x W x C, with the published edges.

    `eval` (EDSR, AR-CNN) restores an even size only: an odd last row or column stays as compressed. `eval_qm` and
    `eval_qmg` get whole blocks.
    """
    height, width = compressed.pixels.shape[:2]
    even = np.s_[: height - height % 2, : width - width % 2]
    restored = compressed.pixels.copy()
    if restored[even].size:
        restored[even] = to_bytes(model.restore(compressed._replace(pixels=compressed.pixels[even])))
    return restored


def evaluate_image(
    ground_truth: np.ndarray, model: Model | None, *, quality: int, codec: Codec, padded: bool, metrics: Metrics
) -> tuple[dict[str, np.ndarray], Row]:
    """Compress and restore one image and measure both against it.

    Args:
        ground_truth: uint8, H x W x C.
        model: None measures the JPEG alone.
        padded: whether the ground truth is padded to whole blocks by edge replication before compression, and all
            three cropped back, as `eval_qm` and `eval_qmg` do.
        metrics: of a protocol (evaluating.metrics.Protocol.metrics).

    Returns:
        The pictures {"compressed", "restored"}, uint8 like the ground truth, and the row without its name.
    """
    prepared = prepare(ground_truth, quality=quality, codec=codec, padded=padded)
    pictures = _pictures(prepared, model)
    return pictures, _row(score(pictures, ground_truth, metrics))


def _pictures(prepared: Prepared, model: Model | None) -> dict[str, np.ndarray]:
    """The compressed and, with a model, the restored image, uint8, of the ground truth's size."""
    height, width = prepared.ground_truth.shape[:2]
    pictures = {"compressed": prepared.compressed.pixels}
    if model is not None:
        pictures["restored"] = restore_compressed(model, prepared.compressed)
    return {which: picture[:height, :width] for which, picture in pictures.items()}


def _row(figures: dict[str, dict[str, float]]) -> Row:
    return {"compressed": None, "restored": None} | figures


def evaluate(
    files: Sequence[Path],
    model: Model | None,
    *,
    mode: str,
    quality: int,
    codec: Codec,
    metrics: Metrics,
    padded: bool | None = None,
    root: Path | None = None,
    pictures: Path | None = None,
    progress: bool = False,
    workers: Executor | None = None,
) -> list[Row]:
    """Evaluate images; several processes share them and all return all rows, in the order of ``files``.

    Args:
        mode: 'RGB' or 'L' (MATLAB's Y).
        padded: see `evaluate_image`; by default as the model's script does.
        root: folder that the rows' names are relative to (default: the file's own).
        pictures: folder for PNGs of the compressed and restored images, or None.
        workers: prepare and score images while the network runs (scoring.scoring_workers; default: this process).

    Raises:
        UserError: if an image can't be read.
    """
    from tqdm import tqdm

    if padded is None:
        padded = model is None or model.input.takes_tables
    names = [file.relative_to(root or file.parent) for file in files]
    mine = list(zip(files, names, output_names(names, ".png"), strict=True))[distributed.rank() :: distributed.world()]
    workers = workers or ThisProcess()

    def prepared(place: int) -> Future | None:
        how = {"quality": quality, "codec": codec, "padded": padded}
        return workers.submit(prepare_file, mine[place][0], mode, **how) if place < len(mine) else None

    ahead = deque(prepared(place) for place in range(LOOK_AHEAD))
    scored = []
    bar = tqdm(mine, f"quality {quality}", unit="image", disable=not progress, leave=False)
    for place, (_, _, picture_name) in enumerate(bar):
        image = ahead.popleft().result()
        ahead.append(prepared(place + LOOK_AHEAD))
        shown = _pictures(image, model)
        targets = {which: pictures / which / picture_name for which in shown} if pictures else None
        scored.append(workers.submit(score, shown, image.ground_truth, metrics, targets))
        if len(scored) > LOOK_AHEAD:
            scored[-LOOK_AHEAD - 1].result()  # an error is told at once, and no heap of pictures waits
    rows = [{"name": name_of(name), **_row(future.result())} for (_, name, _), future in zip(mine, scored, strict=True)]
    return distributed.gather(rows)


def mean_row(rows: Sequence[Row]) -> Row:
    """The mean of each metric over images (the mean of dB values, as every table of the field)."""
    return {
        which: {name: float(np.mean([row[which][name] for row in rows])) for name in rows[0][which]}
        if rows[0][which]
        else None
        for which in ("compressed", "restored")
    }


# ---------------------------------------------------------------------------------------------- reports


def result(rows: list[Row], *, data: str, quality: int, codec: str, protocol: str, net: str) -> dict[str, Any]:
    """What --json writes for one quality."""
    what = {"data": data, "quality": quality, "codec": codec, "protocol": protocol, "net": net}
    return {**what, "images": rows, "mean": mean_row(rows)}


def _cells(row: Row) -> list[str]:
    """The figures of a row as text: for each metric the JPEG's and, with a network, the restored one's and the gain."""
    cells = []
    for name, digits in DIGITS.items():
        cells.append(f"{row['compressed'][name]:.{digits}f}")
        if row["restored"]:
            cells.append(f"{row['restored'][name]:.{digits}f}")
            cells.append(f"{row['restored'][name] - row['compressed'][name]:+.{digits}f}")
    return cells


def _header(restored: bool) -> list[str]:
    return ["image"] + [
        part for header in HEADERS.values() for part in ((header, "out", "gain") if restored else (header,))
    ]


def text_table(outcome: dict[str, Any]) -> str:
    """The table of one quality for the terminal: a title, a row an image, and the mean."""
    restored = outcome["mean"]["restored"] is not None
    lines = [_header(restored)]
    lines += [[row["name"], *_cells(row)] for row in outcome["images"]]
    lines.append(["mean", *_cells(outcome["mean"])])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    title = f"{outcome['data']}, quality {outcome['quality']}, {outcome['net']}"
    how = f"codec {outcome['codec']}; protocol {outcome['protocol']}"
    text = []
    for line in lines:
        text.append("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]))
    rule = "-" * len(text[0])
    return "\n".join([title, how, rule, text[0], rule, *text[1:-1], rule, text[-1]])


def csv_table(outcome: dict[str, Any]) -> str:
    """The table of one quality as CSV, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    shown = [which for which in ("compressed", "restored") if outcome["mean"][which]]
    keys = ["data", "quality", "codec", "protocol", "net"]
    writer.writerow([*keys, "image", *(f"{which}_{name}" for which in shown for name in HEADERS)])
    first = [outcome[key] for key in keys]
    for row in [*outcome["images"], {"name": "mean", **outcome["mean"]}]:
        writer.writerow([*first, row["name"], *(row[which][name] for which in shown for name in HEADERS)])
    return text.getvalue()


# ---------------------------------------------------------------------------------------------- program


def find_images(data: str, root: str | Path) -> tuple[list[Path], Path]:
    """The images of a data set by name, or of any folder, and the folder that holds them.

    Raises:
        UserError: if it is not there, saying where it was looked for.
    """
    if data == "sample":
        files = sample_photographs()
        return files, files[0].parent
    if data in DATASETS:
        folder = next(filter(Path.is_dir, (Path(root, place) for place in DATASETS[data])), None)
        if folder is None:
            raise UserError(
                f"{data} is not in {str(root)!r}: give --dataroot, or src/fetch_data.py {data} gets it or says how to"
            )
    else:
        folder = Path(data)
        if not folder.is_dir():
            raise UserError(f"--gtdata {data!r} is neither a folder nor one of {', '.join(DATASETS)}, sample")
    return image_files(folder), folder


def open_model(options: Namespace, loader: str) -> Model | None:
    """The model of --model, by default the one shipped for this, on the device of --cuda; None for 'none'.

    Raises:
        UserError: if the checkpoint is another script's.
    """
    device = distributed.choose_device(options.cuda, options.gpus)
    distributed.start(device)
    if options.model == "none":
        return None
    path = options.model or _shipped(check_color_mode(options.colorMode), loader)
    model = load_model(
        path,
        device,
        backend=options.backend,
        precision=options.precision,
        int8=options.int8,
        memory=options.memory,
    )
    needed = SCRIPTS[model.input_name]
    if needed != SCRIPTS[loader]:
        raise UserError(f"{path!r} holds {model.title}, which {SCRIPTS[loader]} does not evaluate: use {needed}")
    return model


def _shipped(mode: str, loader: str) -> str:
    """The checkpoint shipped for a script and colour mode, as one would type it from the current folder."""
    try:
        (path,) = shipped_checkpoints(mode, input_name=loader)
    except UserError:
        raise UserError(
            f"no checkpoint is shipped for {SCRIPTS[loader]} with --colorMode {mode}: give --model PATH, or --model "
            "none for the JPEG alone"
        ) from None
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def main(options: Namespace, loader: str) -> int:
    """Run eval.py, eval_qm.py or eval_qmg.py, which differ in the ``loader`` of their networks."""
    try:
        model = open_model(options, loader)
        if options.GT:
            return _evaluate_ground_truth(options, model, padded=loader != "jpeg")
        return _restore_folder(options, model)
    finally:
        distributed.stop()


def _evaluate_ground_truth(options: Namespace, model: Model | None, *, padded: bool) -> int:
    mode = check_color_mode(options.colorMode)
    first = distributed.rank() == 0
    if model is not None and model.color_mode != mode:
        mode = model.color_mode
        if first:
            print(f"note: {options.model} was trained with --colorMode {mode}, which is used", file=sys.stderr)
    files, folder = find_images(options.gtdata, options.dataroot)
    codec, protocol = get_codec(options.codec), get_protocol(options.protocol)
    metrics = protocol.metrics(options.gtdata, mode)
    if first and options.json:
        check_output(options.json, ".json")
    if first and options.save:
        check_writable(RESULTS / options.save / f"quality_{options.quality[0]}" / "metrics.csv")
    net = "JPEG alone" if model is None else f"{model.title} {model.source}"
    outcomes = []
    with scoring_workers(_workers(options.workers, len(files))) as workers:
        for quality in options.quality:
            pictures = RESULTS / options.save / f"quality_{quality}" if options.save else None
            rows = evaluate(
                files, model, mode=mode, quality=quality, codec=codec, metrics=metrics, padded=padded, root=folder,
                pictures=pictures, progress=first, workers=workers,
            )  # fmt: skip
            outcome = result(
                rows,
                data=f"{options.gtdata} {mode}",
                quality=quality,
                codec=codec.name,
                protocol=protocol.describe(options.gtdata, mode),
                net=net,
            )
            outcomes.append(outcome)
            if first:
                print(text_table(outcome), end="\n\n", flush=True)
                if pictures:
                    write_text(pictures / "metrics.csv", csv_table(outcome))
    if first and options.save:
        print(f"pictures and tables are in {RESULTS / options.save}")
    if first and options.json:
        content = outcomes if len(outcomes) > 1 else outcomes[0]
        write_text(options.json, json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n")
    return 0


def _without_nan(value: Any) -> Any:
    """JSON has no NaN, which SSIM is for images smaller than its window: null stands for it."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _workers(asked: int | None, images: int) -> int:
    """How many worker processes prepare and score: as asked, or some of the processors for many images."""
    if asked is not None:
        return asked
    return 0 if images < FEW_IMAGES else min(8, max(1, (os.cpu_count() or 1) // 2))


def _restore_folder(options: Namespace, model: Model | None) -> int:
    from qgcn.restoring.files import restore_files
    from qgcn.restoring.restorer import Restorer

    if options.json:
        raise UserError(f"--json {options.json} takes the figures of --GT: without it JPEGs are restored, not measured")
    if model is None:
        raise UserError("without --GT the JPEGs of --realdatapath are restored, for which --model none is no network")
    if not Path(options.realdatapath).exists():
        raise UserError(
            f"--realdatapath {options.realdatapath!r}, the JPEGs to restore without --GT, does not exist: name their "
            "folder, or give --GT to evaluate on --gtdata"
        )
    output = RESULTS / (options.save or Path(SCRIPTS[model.input_name]).stem)  # its own: what is there is replaced
    return restore_files([options.realdatapath], output, Restorer(model), overwrite=True)
