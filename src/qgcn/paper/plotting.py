"""What the figures share: matplotlib without a window."""

from pathlib import Path

from qgcn.utils.errors import UserError
from qgcn.utils.files import atomic_write


def pyplot():
    """matplotlib.pyplot without a window; raises UserError if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise UserError("this figure takes the optional package matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_figure(figure, path: str | Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all, and say where."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110, facecolor="white", bbox_inches="tight")
    print(f"wrote {path}")
