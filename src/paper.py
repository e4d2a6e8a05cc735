"""The paper's tables and figures, each as one command."""

import sys
from pathlib import Path

from program import ROOT, params, run

FIGURES = ROOT / "figs"


def main(argv: list[str] | None = None) -> int:
    """Make the table or figure that ``argv`` (default: the command line) names; returns the exit code."""
    options = params().paper_parser().parse_args(argv)
    return COMMANDS[options.command](options)


def figures(options) -> int:
    """figs/qmap.png and figs/network.png, drawn from the live code."""
    import figures
    from evaluation import find_images
    from jpeg.codec import PillowCodec
    from utils.image import load_image

    files, _ = find_images("sample", "")
    compressed = PillowCodec().compress(load_image(files[1], "RGB"), 10)
    save_figure(figures.draw_quantization_maps(compressed, 10, (120, 96, 48)), FIGURES / "qmap.png")
    save_figure(figures.draw_networks(), FIGURES / "network.png")
    return 0


def save_figure(figure, path: Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all, and say where."""
    from utils.files import atomic_write

    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110, facecolor="white")
    print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")


COMMANDS = {"figures": figures}

if __name__ == "__main__":
    sys.exit(run(main))
