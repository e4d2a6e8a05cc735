"""The gain in PSNR against the quality factor, for several checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qgcn import checkpoints
from qgcn.evaluating.report import csv_text
from qgcn.paper.plotting import pyplot
from qgcn.paper.record import JPEG, Models
from qgcn.utils.errors import UserError


@dataclass(frozen=True)
class Gains:
    """Gains in PSNR against the quality factor.

    Attributes:
        data: data set and colour mode.
        codec: name and version.
        qualities: the quality factors.
        gains: model -> gain in dB at each quality.
        ranges: model -> lowest and highest quality it was trained on, or None.
    """

    data: str
    codec: str
    qualities: tuple[int, ...]
    gains: Mapping[str, Sequence[float]]
    ranges: Mapping[str, tuple[int, int] | None]

    def csv(self) -> str:
        """A row a quality, a column a model."""
        header = ["data", "codec", "quality", *self.gains]
        lines = (
            [self.data, self.codec, quality, *(f"{values[i]:.4f}" for values in self.gains.values())]
            for i, quality in enumerate(self.qualities)
        )
        return csv_text(header, lines)


def measure_gains(
    models: Models, data: str, qualities: Sequence[int], codec: str, measure: Callable[..., Mapping]
) -> Gains:
    """The mean gain in PSNR of each model at each quality; ``measure`` is `mean_figures` with its keywords.

    Raises:
        UserError: if the models restore colour and gray.
    """
    contents = {name: checkpoints.load(path) for name, path in models.items()}
    channels = {checkpoints.image_channels(content) for content in contents.values()}
    if len(channels) > 1:
        raise UserError("generalize compares checkpoints of one colour mode: these restore colour and gray")
    mode = "RGB" if channels == {3} else "L"
    found = measure(data, mode, qualities, models)
    gains = {
        name: [found[name, quality]["psnr"] - found[JPEG, quality]["psnr"] for quality in qualities] for name in models
    }
    ranges = {name: trained_range(content["opt"].get("quality")) for name, content in contents.items()}
    return Gains(f"{data} {mode}", codec, tuple(qualities), gains, ranges)


def trained_range(option: object) -> tuple[int, int] | None:
    """The quality range of a checkpoint's options: numbers, or the text '[1,60]' of the published program."""
    words = str(option).strip("[]() ").split(",")
    return (int(words[0]), int(words[-1])) if all(word.strip().isdigit() for word in words) else None


def draw_gains(gains: Gains):
    """A matplotlib figure: a line a model, thick where it was trained."""
    figure, axis = pyplot().subplots(figsize=(8, 5))
    pairs = pyplot().get_cmap("tab20").colors  # dark and light in turn
    axis.set_prop_cycle(color=pairs[::2] + pairs[1::2])
    for name, values in gains.gains.items():
        low, high = gains.ranges[name] or (0, 0)
        trained = (
            f", trained on {low}-{high}" if gains.ranges[name] and low != high else f", trained on {low}" if low else ""
        )
        (line,) = axis.plot(gains.qualities, values, marker="o", markersize=3, linewidth=1, label=name + trained)
        inside = [(q, v) for q, v in zip(gains.qualities, values, strict=True) if low <= q <= high]
        if inside:
            axis.plot(*zip(*inside, strict=True), color=line.get_color(), linewidth=4, alpha=0.35, marker="o")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xlabel("quality factor")
    axis.set_ylabel("gain in PSNR over the JPEG, dB")
    axis.set_title(f"{gains.data}; codec {gains.codec}; thick: the qualities trained on", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))  # beside the curves, however many
    return figure
