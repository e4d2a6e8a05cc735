"""What eval.py, eval_qm.py and eval_qmg.py do: evaluate against a ground truth, or restore a folder."""

import sys
from argparse import Namespace
from pathlib import Path

from qgcn.dataset.inputs import get_input
from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.evaluate import evaluate, picture_names
from qgcn.evaluating.metrics import get_protocol
from qgcn.evaluating.pictures import largest_gain, side_by_side, stack
from qgcn.evaluating.report import json_text, outcome_of, rounded, terminal, unrounded
from qgcn.jpeg.codec import get_codec
from qgcn.restoring.files import restore_files
from qgcn.restoring.model import Model, load_model, shipped_checkpoints
from qgcn.restoring.restorer import Restorer
from qgcn.utils import distributed
from qgcn.utils.errors import UserError
from qgcn.utils.files import check_output, check_writable, write_text
from qgcn.utils.image import check_color_mode, load_image, save_pillow

RESULTS = Path("results")

SCRIPTS = {"jpeg": "eval.py", "jpeg_qm": "eval_qm.py", "jpeg_qm_plus": "eval_qm.py", "jpeg_qmg": "eval_qmg.py"}
"""A network's loader -> the script that evaluates it."""

COMPARED = 4
"""The first images of a data set that the comparison picture shows."""


def main(options: Namespace, loader: str) -> int:
    """Run eval.py, eval_qm.py or eval_qmg.py, which differ in the ``loader`` of their networks."""
    try:
        model = open_model(options, loader)
        if options.GT:
            return _evaluate_ground_truth(options, model, padded=get_input(loader).takes_tables)
        return _restore_folder(options, model)
    finally:
        distributed.stop()


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
        path, device, backend=options.backend, precision=options.precision, int8=options.int8, memory=options.memory
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


def _evaluate_ground_truth(options: Namespace, model: Model | None, *, padded: bool) -> int:
    mode = check_color_mode(options.colorMode)
    first = distributed.rank() == 0
    if model is not None and model.color_mode != mode:
        mode = model.color_mode
        if first:
            print(f"note: {options.model} was trained with --colorMode {mode}, which is used", file=sys.stderr)
    files, root = find_images(options.gtdata, options.dataroot)
    codec, protocol = get_codec(options.codec), get_protocol(options.protocol)
    saved = RESULTS / options.save if options.save else None
    if first and options.json:
        check_output(options.json, ".json")
    if first and saved:
        check_writable(saved / f"quality_{options.quality[0]}" / "metrics.csv")
    net = "JPEG alone" if model is None else f"{model.title} {model.source}"
    outcomes, comparisons = [], []
    for quality in options.quality:
        folder = saved / f"quality_{quality}" if saved else None
        rows = evaluate(
            files, model, mode=mode, quality=quality, codec=codec, metrics=protocol.metrics(), padded=padded, root=root,
            pictures=folder, progress=first, workers=options.workers,
        )  # fmt: skip
        made_with = {"codec": codec.name, "protocol": protocol.describe(), "net": net}
        outcome = outcome_of(rows, {"data": f"{options.gtdata} {mode}", "quality": quality, **made_with})
        outcomes.append(outcome)
        if first:
            print(terminal(rounded(outcome)), end="\n\n", flush=True)
        if first and folder:
            write_text(folder / "metrics.csv", unrounded(outcome))
            if model is not None:
                comparisons.append(_save_comparison(files, root, folder, f"JPEG {quality}", model))
    if first and saved:
        print(f"pictures and tables are in {saved}")
        print(*(f"the first images side by side: {file}\n" for file in comparisons), sep="", end="")
    if first and options.json:
        write_text(options.json, json_text(outcomes if len(outcomes) > 1 else outcomes[0]))
    return 0


def _save_comparison(files: list[Path], root: Path, folder: Path, jpeg: str, model: Model) -> Path:
    """Write a picture of the first images beside what `evaluate` has written to ``folder``; returns its path."""
    pictures = []
    for file, name in list(zip(files, picture_names(files, root), strict=True))[:COMPARED]:
        truth = load_image(file, model.color_mode)
        files_written = (folder / which / name for which in ("compressed", "restored"))
        compressed, restored = (load_image(path, model.color_mode) for path in files_written)
        box = largest_gain(truth, compressed, restored)
        pictures.append(side_by_side(truth, {jpeg: compressed, model.title: restored}, box))
    save_pillow(folder / "comparison.png", stack(pictures))
    return folder / "comparison.png"


def _restore_folder(options: Namespace, model: Model | None) -> int:
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
