"""What the commands of paper.py do: each makes one table or figure."""

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from qgcn.evaluating.datasets import find_images
from qgcn.evaluating.evaluate import evaluate_image
from qgcn.evaluating.pictures import largest_gain, side_by_side
from qgcn.evaluating.report import FORMATS, json_text
from qgcn.jpeg.codec import Codec, get_codec
from qgcn.paper.gains import measure_gains
from qgcn.paper.plots import draw_gains, draw_quantization_maps, pyplot, save_figure
from qgcn.paper.record import Record, mean_figures, named_models
from qgcn.paper.tables import measure_table, table_of
from qgcn.restoring.model import load_model
from qgcn.utils.errors import UserError, check_choice
from qgcn.utils.files import check_output, write_text
from qgcn.utils.image import load_image, save_pillow


def main(options: Namespace) -> int:
    """Run the command that the options of params.paper_parser name; returns the exit code."""
    return COMMANDS[options.command](options)


def _measure(options: Namespace, codec: Codec, protocol: str) -> Callable:
    """`mean_figures` with the keywords that the options say."""
    record = Record(options.per_image)
    return partial(
        mean_figures, protocol=protocol, root=options.dataroot, codec=codec, workers=options.workers, record=record
    )


def table(options: Namespace) -> int:
    """Table I or II of the paper beside this project's figures; 1 if a JPEG cell differs from the paper's."""
    if options.json:
        check_output(options.json, ".json", [options.per_image] if options.per_image else [])
    models = {} if options.columns == "JPEG" else named_models(options.model)
    check_choice(options.columns, ("all", "JPEG"), "--columns")
    if options.columns == "JPEG" and options.model:
        raise UserError("--columns JPEG measures no --model: give one of them")
    number, codec = int(options.command[-1]), get_codec(options.codec)
    cells = measure_table(number, models, _measure(options, codec, options.protocol))
    made = table_of(number, cells, codec=codec.name, protocol=options.protocol)
    print(FORMATS[options.format](made))
    if options.json:
        write_text(options.json, json_text({"title": made.title, "cells": [asdict(cell) for cell in cells]}))
    equal = sum(cell.jpeg_equals for cell in cells)
    print(f"{equal}/{len(cells)} JPEG cells equal the paper", file=sys.stderr)
    return 0 if equal == len(cells) else 1


def generalize(options: Namespace) -> int:
    """The gain in PSNR against the quality factor for several checkpoints: CSV and a figure."""
    pyplot()  # a package that is missing is better told before the measurements
    models = named_models(options.model)
    if not models:
        raise UserError("generalize compares checkpoints: give --model NAME=PATH at least once")
    output = Path(options.output)
    table_file = output.with_suffix(".csv")
    files, _ = find_images(options.gtdata, options.dataroot)
    check_output(output, ".png", files)
    check_output(table_file, ".csv", [options.per_image] if options.per_image else [])
    codec = get_codec(options.codec)
    gains = measure_gains(models, options.gtdata, options.quality, codec.name, _measure(options, codec, "paper"))
    print(gains.csv(), end="")
    write_text(table_file, gains.csv())
    save_figure(draw_gains(gains), output)
    return 0


def compare(options: Namespace) -> int:
    """One image as each method shows it, with --crop or where the last method gains most enlarged, and its PSNR."""
    models = {name: load_model(path) for name, path in named_models(options.model).items()}
    if not models:
        raise UserError("compare shows what checkpoints make of an image: give --model NAME=PATH at least once")
    check_output(options.output, ".png", [options.image])
    modes = {model.color_mode for model in models.values()}
    if len(modes) > 1:
        raise UserError("compare shows checkpoints of one colour mode: these restore colour and gray")
    truth, codec, jpeg = load_image(options.image, *modes), get_codec(options.codec), f"JPEG {options.quality}"
    methods = {}
    for name, model in models.items():
        pictures, _ = evaluate_image(truth, model, quality=options.quality, codec=codec, metrics={})
        methods.setdefault(jpeg, pictures["compressed"])
        methods[name] = pictures["restored"]
    left, top, width, height = crop = options.crop or largest_gain(truth, methods[jpeg], pictures["restored"])
    if min(left, top) < 0 or min(width, height) < 1 or left + width > truth.shape[1] or top + height > truth.shape[0]:
        raise UserError(f"--crop {crop} does not lie in the image of {truth.shape[1]} x {truth.shape[0]} pixels")
    save_pillow(options.output, side_by_side(truth, methods, crop))
    print(f"wrote {options.output}")
    return 0


def figures(options: Namespace) -> int:
    """The quantization maps of a JPEG."""
    files, _ = find_images("sample", "")
    check_output(options.output, ".png", files)
    compressed = get_codec("pillow").compress(load_image(files[1], "RGB"), 10)
    save_figure(draw_quantization_maps(compressed, 10, (120, 96, 48)), options.output)
    return 0


COMMANDS = {"table1": table, "table2": table, "generalize": generalize, "compare": compare, "figures": figures}
