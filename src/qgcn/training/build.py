"""From options to a run: with `data`, the one place that reads the options of training."""

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from qgcn import nets
from qgcn.dataset.degradation import FamilyCodec, check_degradation
from qgcn.dataset.inputs import get_input
from qgcn.evaluating import evaluate as evaluation
from qgcn.evaluating.metrics import get_protocol
from qgcn.jpeg.codec import Codec, get_codec
from qgcn.jpeg.random_tables import FAMILIES
from qgcn.restoring.model import Model
from qgcn.restoring.tiles import tile_side
from qgcn.training.data import build_data
from qgcn.training.epoch import build_loss, train_one_epoch
from qgcn.training.log import logged_to
from qgcn.training.optimizer import build_optimizer
from qgcn.training.resume import CHECKPOINTS, best_still_counts, plain, resume_options
from qgcn.training.run import Run, check_unused
from qgcn.training.schedule import Limit, Schedule
from qgcn.training.state import State
from qgcn.training.transfer import weights_to_start_from
from qgcn.utils import distributed
from qgcn.utils.errors import UserError, check_choice, is_out_of_memory
from qgcn.utils.image import COLOR_MODES, check_color_mode

log = logging.getLogger("train")


def main(options: Namespace, given: set[str], *, program: str, argv: list[str]) -> int:
    """Train as options say, in one process or, with several --gpus, in one for each; returns the exit code.

    Args:
        given: the names of the options that the command line sets.
        program: the file to start for each process, with the arguments ``argv``.
    """
    with logged_to(logging.StreamHandler()):
        content, changes = None, []
        if options.resume:
            options, content, changes = resume_options(options, given)
        device = distributed.choose_device(options.cuda, options.gpus)
        if len(options.gpus) > 1 and not distributed.under_torchrun():
            return distributed.launch(program, argv, cuda=options.cuda, gpus=options.gpus)
        distributed.start(device)
        log.setLevel(logging.INFO if distributed.rank() == 0 else logging.ERROR)
        try:
            # Gradients of what has died fade into denormal numbers, which slow a processor's step down several times.
            torch.set_flush_denormal(True)
            before, memory = [], logging.Handler()  # the run's folder is written once the run is built
            memory.emit = before.append
            with logged_to(memory):
                run = build(options, content, device, command=["src/main.py", *argv])
                for change in changes:
                    log.warning("%s", change)
            return run.run(before)
        finally:
            torch.set_flush_denormal(False)
            distributed.stop()


def build(options: Namespace, content: Mapping[str, Any] | None, device: torch.device, *, command: list[str]) -> Run:
    """The run of options, from the start or from the content of a checkpoint; nothing is written before it runs.

    Raises:
        UserError: if options are unknown, or contradict each other or the data.
    """
    kind = nets.kind(options.net)
    _check(options, kind)
    folder = CHECKPOINTS / options.savedir
    if CHECKPOINTS.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--savedir {options.savedir!r} holds {str(CHECKPOINTS)!r}: name a folder for the run")
    if content is None:
        check_unused(folder)
    schedule = Schedule(options.schedule, options.lr, options.nEpochs, options.step, options.warmup)
    loss = build_loss(options.loss)
    state = _state(options, content, device)
    if content is not None and not best_still_counts(options, content, folder):
        state.progress.best = float("-inf")
    batches, to_validate = build_data(options)
    images, sampler = batches.dataset.images, batches.batch_sampler

    network = torch.compile(state.network) if options.compile else state.network
    if distributed.world() > 1:
        network = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
    autocast = torch.autocast(device.type, torch.bfloat16) if options.precision == "bf16" else nullcontext()
    train_epoch = partial(train_one_epoch, network, get_input(kind.input), batches, loss, state.optimizer)
    run = Run(
        folder=folder,
        command=command,
        state=state,
        device=device,
        sampler=sampler,
        train_epoch=partial(train_epoch, device=device, autocast=autocast, accumulate=options.accumulate),
        schedule=schedule,
        limit=Limit(options.nEpochs, options.minutes),
        validate=_validation(options, to_validate.sources, device) if len(to_validate) else None,
        left_out=len(images.unreadable) + len(images.dropped) + len(to_validate.unreadable),
        log_every=options.log_every,
        save_minutes=options.save_minutes,
    )
    log.info("%s: %d parameters, %s", kind.title, nets.parameter_count(state.network), state.arguments)
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    log.info("device: %s, %s", device_name, options.precision)
    log.info("%d images, %d samples an epoch", len(images), sampler.samples)
    return run


def _check(options: Namespace, kind: nets.Kind) -> None:
    """Refuse what can't be trained; an empty --dataloader becomes that of the network."""
    check_color_mode(options.colorMode)
    check_degradation(options.valid_degradation, "--valid_degradation")
    check_choice(options.precision, ("fp32", "bf16"), "--precision")
    options.dataloader = options.dataloader or kind.input
    multiple = get_input(options.dataloader).multiple
    if options.dataloader != kind.input:
        raise UserError(f"--net {options.net} takes --dataloader {kind.input}, not {options.dataloader}")
    if options.size % multiple:
        raise UserError(f"--size {options.size} is not a multiple of {multiple}, which --net {options.net} needs")
    if options.batchSize < distributed.world() * options.accumulate:
        parts = f"--accumulate {options.accumulate} parts in each of {distributed.world()} processes"
        raise UserError(f"--batchSize is {options.batchSize}: a step takes a sample or more for each of {parts}")


def _state(options: Namespace, content: Mapping[str, Any] | None, device: torch.device) -> State:
    """The network, its average and its optimizer, new or as a checkpoint has them."""
    channels = COLOR_MODES[options.colorMode]
    torch.manual_seed(options.seed)
    arguments = nets.arguments(options, channels)
    try:
        network = nets.build(options.net, arguments)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"--net {options.net} of {arguments} takes more memory than there is: make it smaller"
        ) from None
    nets.initialise(network, options.init)
    nets.check(options.net, network, channels)
    if options.pretrained and content is None:
        network.load_state_dict(weights_to_start_from(options.pretrained, options.net, arguments))
    network.to(device, memory_format=torch.contiguous_format if options.no_channels_last else torch.channels_last)
    optimizer = build_optimizer(options.optimizer, network, options.lr)
    kept = {name: plain(value) for name, value in vars(options).items()}
    state = State(network, options.net, arguments, optimizer, ema=options.ema, options=kept)
    if content is not None:
        try:
            state.load(content)
        except Exception as error:  # the file's own words decide what fails, and how
            reason = " ".join(str(error).split())[:200]
            problem = f"the training state of {options.resume!r} is damaged or another network's ({reason})"
            raise UserError(f"{problem}: start from its weights with --pretrained") from None
    if options.init == "identity" and not network.hold_identity() and options.pretrained and content is None:
        raise UserError(
            f"--init identity holds what it sets, which --pretrained {options.pretrained!r} has not: drop one"
        )
    return state


def _validation(options: Namespace, files: list[Path], device: torch.device) -> Callable[[nn.Module, int], dict]:
    """The validation of a network on ``device`` after so many epochs, by the function that evaluation uses.

    It returns mean PSNR, SSIM and PSNR-B by column of metrics.csv, and logs them. With --valid_degradation real it
    measures the gain in PSNR besides, on JPEGs with each family of tables (jpeg.random_tables.FAMILIES).
    """
    mode, quality, published = options.colorMode, options.valid_quality, get_codec(options.codec)
    metrics = get_protocol("published").metrics()

    def validate(network: nn.Module, epoch: int) -> dict[str, float]:
        model = Model(network, options.net, COLOR_MODES[mode], device, tile_side(network, None))

        def mean(codec: Codec) -> evaluation.Row:
            rows = evaluation.evaluate(files, model, mode=mode, quality=quality, codec=codec, metrics=metrics)
            return evaluation.mean_row(rows)

        row = mean(published)
        figures = {"input_psnr": row["compressed"]["psnr"], **row["restored"]}
        log.info(
            f"epoch {epoch}: validation at quality {quality}: PSNR {figures['psnr']:.3f} dB "
            f"({figures['psnr'] - figures['input_psnr']:+.3f}), SSIM {figures['ssim']:.4f}, "
            f"PSNR-B {figures['psnr_b']:.3f} dB"
        )
        if options.valid_degradation == "real":
            rows = {family: mean(FamilyCodec(family, tuple(options.quality))) for family in FAMILIES}
            gains = {family: row["restored"]["psnr"] - row["compressed"]["psnr"] for family, row in rows.items()}
            words = ", ".join(f"{family} {gain:+.3f}" for family, gain in gains.items())
            log.info(f"epoch {epoch}: gain in PSNR on tables of each family: {words}")
            figures |= {f"gain_{family}": gain for family, gain in gains.items()}
        return figures

    return validate
