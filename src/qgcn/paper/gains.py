"""The gain in PSNR against the quality factor, for several checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qgcn import checkpoints
from qgcn.evaluating.report import csv_text
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
        figures = zip(self.qualities, *self.gains.values(), strict=True)
        lines = ([self.data, self.codec, quality, *(f"{gain:.4f}" for gain in row)] for quality, *row in figures)
        return csv_text(["data", "codec", "quality", *self.gains], lines)


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
    means = measure(data, mode, qualities, models)
    gains = {name: [means[name, q]["psnr"] - means[JPEG, q]["psnr"] for q in qualities] for name in models}
    ranges = {name: trained_range(content["opt"].get("quality")) for name, content in contents.items()}
    return Gains(f"{data} {mode}", codec, tuple(qualities), gains, ranges)


def trained_range(option: object) -> tuple[int, int] | None:
    """The quality range of a checkpoint's options: numbers, or the text '[1,60]' of the published program."""
    words = str(option).strip("[]() ").split(",")
    return (int(words[0]), int(words[-1])) if all(word.strip().isdigit() for word in words) else None
