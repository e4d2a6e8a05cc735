"""Validation while a network trains, by the function that evaluation uses."""

import logging
from pathlib import Path

import torch
from torch import nn

from qgcn.dataset.degradation import FamilyCodec
from qgcn.evaluating import evaluate as evaluation
from qgcn.evaluating.metrics import get_protocol
from qgcn.jpeg.codec import Codec
from qgcn.jpeg.random_tables import FAMILIES
from qgcn.restoring.model import Model
from qgcn.restoring.tiles import tile_side
from qgcn.utils.image import COLOR_MODES

log = logging.getLogger("train")


def validate(
    network: nn.Module, epoch: int, *, files: list[Path], name: str, mode: str, device: torch.device, quality: int,
    codec: Codec, families: tuple[int, int] | None = None,
) -> dict[str, float]:  # fmt: skip
    """Mean PSNR, SSIM and PSNR-B on images after ``epoch`` epochs, by column of metrics.csv; also logged.

    Args:
        network: on ``device``, of the kind ``name``.
        mode: 'RGB' or 'L'.
        quality, codec: JPEG quality factor, and what makes the JPEGs.
        families: lowest and highest quality of JPEGs with each family of tables (jpeg.random_tables.FAMILIES), on which
            the gain in PSNR is measured besides; None leaves them out.
    """
    model = Model(network, name, COLOR_MODES[mode], device, tile_side(network, None))
    metrics = get_protocol("published").metrics()

    def mean(codec: Codec) -> evaluation.Row:
        rows = evaluation.evaluate(files, model, mode=mode, quality=quality, codec=codec, metrics=metrics)
        return evaluation.mean_row(rows)

    row = mean(codec)
    figures = {"input_psnr": row["compressed"]["psnr"], **row["restored"]}
    log.info(
        f"epoch {epoch}: validation at quality {quality}: PSNR {figures['psnr']:.3f} dB "
        f"({figures['psnr'] - figures['input_psnr']:+.3f}), SSIM {figures['ssim']:.4f}, "
        f"PSNR-B {figures['psnr_b']:.3f} dB"
    )
    if families:
        rows = {family: mean(FamilyCodec(family, families)) for family in FAMILIES}
        gains = {family: row["restored"]["psnr"] - row["compressed"]["psnr"] for family, row in rows.items()}
        words = ", ".join(f"{family} {gain:+.3f}" for family, gain in gains.items())
        log.info(f"epoch {epoch}: gain in PSNR on tables of each family: {words}")
        figures |= {f"gain_{family}": gain for family, gain in gains.items()}
    return figures
