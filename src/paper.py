"""The paper's tables and figures, each as one command."""

import sys
from argparse import Namespace
from pathlib import Path

from qgcn.cli import ROOT, params, run

FIGURES = ROOT / "figs"


def main(argv: list[str] | None = None) -> int:
    """Make the table or figure that ``argv`` (default: the command line) names; returns the exit code."""
    options = params().paper_parser().parse_args(argv)
    return COMMANDS[options.command](options)


def table(options: Namespace) -> int:
    """Table I or II of the paper beside this project's figures; 1 if a JPEG cell differs from the paper's."""
    from qgcn.paper import comparison, measurement
    from qgcn.paper.figures import pyplot
    from qgcn.utils.errors import UserError
    from qgcn.utils.files import check_output, write_text

    if options.json:
        check_output(options.json, ".json", [options.per_image] if options.per_image else [])
    published = comparison.read_published(int(options.command[-1]))
    models = {} if options.columns == "JPEG" else comparison.named_models(options.model)
    if options.columns not in ("all", "JPEG"):
        raise UserError(f"--columns {options.columns!r} is unknown: choose all or JPEG")
    if options.columns == "JPEG" and options.model:
        raise UserError("--columns JPEG measures no --model: give one of them")
    if options.figure:
        pyplot()  # a package that is missing is better told before the measurements
    found = comparison.measure_table(
        published,
        models,
        root=options.dataroot,
        codec=options.codec,
        protocol=options.protocol,
        workers=options.workers,
        record=measurement.Record(options.per_image),
    )
    print(comparison.FORMATS[options.format](found))
    if options.figure:
        figure = comparison.draw_table(found)
        save_figure(figure, FIGURES / f"{options.command}.png")
    if options.json:
        write_text(options.json, comparison.as_json(found))
    equal = sum(cell.jpeg_equals for cell in found.cells)
    print(f"{equal}/{len(found.cells)} JPEG cells equal the paper", file=sys.stderr)
    return 0 if equal == len(found.cells) else 1


def generalize(options: Namespace) -> int:
    """The gain in PSNR against the quality factor for several checkpoints: CSV and a figure."""
    from qgcn.evaluating.evaluate import find_images
    from qgcn.paper import comparison, measurement
    from qgcn.paper.figures import pyplot
    from qgcn.utils.errors import UserError
    from qgcn.utils.files import check_output, write_text

    pyplot()
    models = comparison.named_models(options.model)
    if not models:
        raise UserError("generalize compares checkpoints: give --model NAME=PATH at least once")
    output = Path(options.output) if options.output else FIGURES / "generalize.png"
    table_file = output.with_suffix(".csv")
    files, _ = find_images(options.gtdata, options.dataroot)
    check_output(output, ".png", files)
    check_output(table_file, ".csv", [options.per_image] if options.per_image else [])
    gains = comparison.measure_gains(
        models,
        options.gtdata,
        options.quality,
        root=options.dataroot,
        codec=options.codec,
        workers=options.workers,
        record=measurement.Record(options.per_image),
    )
    print(gains.csv(), end="")
    write_text(table_file, gains.csv())
    save_figure(comparison.draw_gains(gains), output)
    return 0


def compare(options: Namespace) -> int:
    """One image as each method shows it, with a zoomed crop and its PSNR."""
    from qgcn.paper import comparison
    from qgcn.utils.errors import UserError
    from qgcn.utils.files import check_output
    from qgcn.utils.image import save_pillow

    models = comparison.named_models(options.model)
    if not models:
        raise UserError("compare shows what checkpoints make of an image: give --model NAME=PATH at least once")
    output = Path(options.output) if options.output else FIGURES / "compare.png"
    check_output(output, ".png", [options.image])
    picture = comparison.compare_methods(options.image, models, options.quality, options.crop, codec=options.codec)
    save_pillow(output, picture)
    print(f"wrote {output}")
    return 0


def figures(options: Namespace) -> int:
    """figs/qmap.png and figs/network.png, drawn from the live code."""
    from qgcn.evaluating.evaluate import find_images
    from qgcn.jpeg.codec import get_codec
    from qgcn.paper import figures
    from qgcn.utils.image import load_image

    files, _ = find_images("sample", "")
    compressed = get_codec("pillow").compress(load_image(files[1], "RGB"), 10)
    save_figure(figures.draw_quantization_maps(compressed, 10, (120, 96, 48)), FIGURES / "qmap.png")
    save_figure(figures.draw_networks(), FIGURES / "network.png")
    return 0


def save_figure(figure, path: Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all, and say where."""
    from qgcn.utils.files import atomic_write

    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110, facecolor="white", bbox_inches="tight")
    print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")


COMMANDS = {"table1": table, "table2": table, "generalize": generalize, "compare": compare, "figures": figures}

if __name__ == "__main__":
    sys.exit(run(main))
