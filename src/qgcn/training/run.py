"""A training run: builders, epochs, validation, checkpoints, and resuming exactly where a run stopped."""

import logging
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from qgcn import checkpoints, nets
from qgcn.dataset.degradation import FamilyCodec, check_degradation
from qgcn.dataset.inputs import get_input
from qgcn.dataset.store import ImageStore
from qgcn.evaluating import evaluate as evaluation
from qgcn.evaluating.metrics import get_protocol
from qgcn.jpeg.codec import Codec, get_codec
from qgcn.jpeg.random_tables import FAMILIES
from qgcn.restoring.model import Model
from qgcn.restoring.tiles import tile_side
from qgcn.training import data as dataset
from qgcn.training.epoch import train_one_epoch
from qgcn.training.log import OPTIONS, RunLog, remembered, write_options
from qgcn.training.loss import build_loss
from qgcn.training.optimizer import build_optimizer
from qgcn.training.schedule import Schedule
from qgcn.training.transfer import weights_to_start_from
from qgcn.utils import distributed
from qgcn.utils.errors import UserError, check_choice, is_out_of_memory
from qgcn.utils.files import locked, remove_leftovers
from qgcn.utils.image import COLOR_MODES, check_color_mode, image_files

CHECKPOINTS = Path("checkpoint")
LAST, BEST = "model_last.pth", "model_best.pth"

SAME_REQUEST = 3.0
"""Seconds within which signals count as one: a terminal and a launcher both pass on a single Ctrl-C."""

ARCHITECTURE = (
    "net", "n_colors", "in_channel", "out_channel", "in_glo_channel", "n_resblocks", "n_feats", "res_scale",
    "global_feats", "global_hidden", "colorMode", "dataloader",
)  # fmt: skip
"""Options that make the network, which a resumed run can't change."""

VALIDATION = ("validation", "imgValidRoot", "holdout", "valid_quality", "codec")
"""Options on which the validation's figures depend."""

OF_THE_MACHINE = {"cuda", "gpus"}
"""Options that a resumed run doesn't inherit: it may go on elsewhere."""

log = logging.getLogger("train")


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: finished epochs.
        samples: samples used of the epoch in progress.
        step: optimizer steps.
        seconds: time spent.
        best: highest validation PSNR, dB.
        loss_sum, loss_steps: sum of the steps' losses since the last row of metrics, and their number.
    """

    epoch: int = 0
    samples: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = float("-inf")
    loss_sum: float = 0.0
    loss_steps: int = 0


def resume_options(options: Namespace, given: set[str]) -> tuple[Namespace, dict[str, Any], list[str]]:
    """The options to go on with, the checkpoint to go on from, and a sentence for each option that has changed.

    Options that the command line gives win over the run's own, which win over the defaults.

    Args:
        options: of the command line, with ``resume``, a checkpoint or a run folder.
        given: the names of the options that the command line sets.

    Raises:
        UserError: if the checkpoint can't be resumed, or the command line changes the network.
    """
    path = Path(options.resume)
    path = path / LAST if path.is_dir() else path
    state = checkpoints.load(path)
    if "training" not in state:
        raise UserError(f"{str(path)!r} holds no training state to --resume: start from its weights with --pretrained")
    old = {"optimizer": "adam"} | state["opt"]  # runs from before there was a choice
    for name in sorted(given & {"pretrained", "init"}):
        raise UserError(f"--{name} is what a run starts from, and --resume goes on with one: give one of them")
    if "optimizer" in given and options.optimizer != old["optimizer"]:
        raise UserError(
            f"--optimizer {options.optimizer} can't use the state of {old['optimizer']} in {str(path)!r}: "
            "start from its weights with --pretrained"
        )
    for name in ARCHITECTURE:
        new = getattr(options, name)
        if name in given and nets.ALIASES.get(new, new) != nets.ALIASES.get(old[name], old[name]):
            raise UserError(
                f"--{name} {new} differs from {old[name]}, with which {str(path)!r} was trained: "
                "a resumed run keeps its network"
            )
    kept = vars(options).keys() & old.keys() - given - OF_THE_MACHINE
    merged = vars(options) | {name: old[name] for name in kept}
    folder = CHECKPOINTS / options.savedir
    if "savedir" not in given:
        if not (path.parent / OPTIONS).exists():
            raise UserError(f"{str(path)!r} does not lie in a run's folder: give the run one with --savedir NAME")
        merged["savedir"] = os.path.abspath(path.parent)
    elif folder.resolve() != path.parent.resolve() and any(folder.glob("model_*.pth")):
        raise UserError(f"{str(folder)!r} already holds another run: give another --savedir, or leave it out")
    changed = [
        name for name in sorted(given - {"resume", "savedir"}) if name in old and _plain(merged[name]) != old[name]
    ]
    return Namespace(**merged), state, [f"--{name} is now {merged[name]}; it was {old[name]}" for name in changed]


def _plain(value: Any) -> Any:
    """An option as checkpoints store it."""
    return list(value) if isinstance(value, tuple) else value


class Training:
    """Everything that a run holds, built from its options and, to resume, a checkpoint.

    Nothing is written before all of it is built.
    """

    def __init__(
        self, options: Namespace, state: dict[str, Any] | None, *, command: list[str], changes: Sequence[str] = ()
    ):
        self.options, self.command, self.changes = options, command, changes
        resumed = bool(options.resume)
        self.device = distributed.choose_device(options.cuda, options.gpus)
        self.main = distributed.rank() == 0
        check_color_mode(options.colorMode)
        check_degradation(options.valid_degradation, "--valid_degradation")
        check_choice(options.precision, ("fp32", "bf16"), "--precision")
        kind = nets.kind(options.net)
        options.dataloader = options.dataloader or kind.input
        tables = get_input(options.dataloader).planes[COLOR_MODES[options.colorMode]]
        if options.dataloader != kind.input:
            raise UserError(f"--net {options.net} takes --dataloader {kind.input}, not {options.dataloader}")
        channels = COLOR_MODES[options.colorMode]
        self.folder = CHECKPOINTS / options.savedir
        if CHECKPOINTS.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"--savedir {options.savedir!r} holds {str(CHECKPOINTS)!r}: name a folder for the run")
        if not resumed and any(self.folder.glob("model_*.pth")):
            raise UserError(f"{str(self.folder)!r} already holds a run: give another --savedir, or --resume it")
        self.schedule = Schedule(options.schedule, options.lr, options.nEpochs, options.step, options.warmup)
        self.loss_function = build_loss(options.loss)

        torch.manual_seed(options.seed)
        self.arguments = nets.arguments(options, channels, tables)
        self.network = nets.build(options.net, self.arguments)
        nets.initialise(self.network, options.init)
        if options.pretrained and not resumed:
            weights = weights_to_start_from(options.pretrained, options.net, self.arguments)
            self.network.load_state_dict(weights)
        memory_format = torch.contiguous_format if options.no_channels_last else torch.channels_last
        self.network.to(self.device, memory_format=memory_format)
        self.average = (
            AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(options.ema)) if options.ema else None
        )
        self.optimizer = build_optimizer(options.optimizer, self.network, options.lr)
        self.progress = Progress()
        if resumed:
            self._load_training(state)
        if options.init == "identity":
            self.network.hold_identity()
        self._build_data()
        self.callable = torch.compile(self.network) if options.compile else self.network
        if distributed.world() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            self.callable = DistributedDataParallel(self.callable, device_ids=ids)
        self.autocast = (
            torch.autocast(self.device.type, torch.bfloat16) if options.precision == "bf16" else nullcontext()
        )

    def _load_training(self, state: dict[str, Any]) -> None:
        """Go on from the training state of a checkpoint."""
        training = state["training"]
        self.network.load_state_dict(training["weights"])
        self.optimizer.load_state_dict(training["optimizer"])
        self.progress = Progress(**training["progress"])
        if not self._best_counts(state):
            self.progress.best = float("-inf")
        if self.average is not None and training["averaged"] is not None:
            self.average.module.load_state_dict(state["model"])
            self.average.n_averaged.fill_(training["averaged"])
        elif self.average is not None:  # --ema is new
            self.average.module.load_state_dict(training["weights"])
        torch.set_rng_state(training["rng"])
        if training["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(training["cuda_rng"], self.device)

    def _best_counts(self, state: dict[str, Any]) -> bool:
        """Whether the best validation of a checkpoint is still that of model_best.pth, and of the same images."""
        names = (*VALIDATION, "imgGTRoot") if self.options.holdout else VALIDATION
        if any(_plain(getattr(self.options, name)) != state["opt"].get(name) for name in names):
            return False
        best = self.folder / BEST
        return best.exists() and checkpoints.load(best)["epoch"] <= state["epoch"]  # not of epochs that are taken back

    def _build_data(self) -> None:
        """Training batches and validation files; the first process decodes what is not stored yet."""
        options = self.options
        files, held_out = dataset.training_files(options)
        to_validate = []
        if options.holdout:
            to_validate = held_out
        elif options.validation:
            if not Path(options.imgValidRoot).is_dir():
                raise UserError(
                    f"the folder of validation images {options.imgValidRoot!r} does not exist: name one with "
                    "--imgValidRoot, or keep training images out with --holdout"
                )
            to_validate = image_files(options.imgValidRoot)
        self.batches, readable = distributed.in_turn(lambda: self._decode(files, to_validate))
        self.validation = readable.sources
        images = self.batches.dataset.images
        self.left_out = len(images.unreadable) + len(images.dropped) + len(readable.unreadable)
        self.sampler = self.batches.batch_sampler

    def _decode(self, files: list[Path], to_validate: list[Path]) -> tuple[DataLoader, ImageStore]:
        rank, world = distributed.rank(), distributed.world()
        batches = dataset.build_training_data(self.options, files=files, rank=rank, world=world)
        readable = dataset.decode(to_validate, self.options, mode=self.options.colorMode, rank=rank)
        if to_validate and not len(readable):
            raise UserError(
                f"none of the {len(to_validate)} images to validate on can be read: {readable.unreadable[0]}"
            )
        return batches, readable

    # ------------------------------------------------------------------------------------------ the run

    def run(self, before: Sequence[logging.LogRecord] = ()) -> int:
        """Train to the end, or to a signal; returns the exit code, 1 if images were left out.

        ``before`` is what was logged while all of this was built, for the log of the run folder.
        """
        busy = f"another run is writing into {str(self.folder)!r}: wait for its end, or give another --savedir"
        with locked(self.folder, busy) if self.main else nullcontext():
            return self._run(before)

    def _run(self, before: Sequence[logging.LogRecord]) -> int:
        options, progress = self.options, self.progress
        self.received, self.received_at = 0, 0.0
        self.started = time.monotonic() - progress.seconds
        self.saved = time.monotonic()
        self.run_log = self._open_log(before) if self.main else None
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while progress.epoch < options.nEpochs or options.minutes:
                if self._out_of_time():
                    break
                try:
                    finished = self._epoch()
                except FloatingPointError as error:
                    raise UserError(
                        f"{error} at step {progress.step + 1}: lower --lr or add --warmup; what was saved before stands"
                    ) from None
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise UserError(
                        f"the memory is full at step {progress.step + 1}: --accumulate 4 computes a batch in parts; "
                        "what was saved before stands"
                    ) from None
                if not finished and not self._out_of_time():
                    self._save(LAST)
                    log.info("stopped by signal %d at step %d; go on with --resume", self.received, progress.step)
                    return 128 + self.received
                if finished or progress.samples >= self.sampler.samples:
                    progress.epoch, progress.samples = progress.epoch + 1, 0
                self._end_epoch()
            distributed.barrier()  # or an exit code of 1 would have the others stop the one that still saves
            log.info("finished after %d steps, %.1f minutes", progress.step, progress.seconds / 60)
            if self.left_out:
                log.warning("exit code 1: %d images were left out (see above)", self.left_out)
            return 1 if self.left_out else 0
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            if self.run_log:
                self.run_log.close()

    def _open_log(self, before: Sequence[logging.LogRecord]) -> RunLog:
        remove_leftovers(self.folder)
        run_log = RunLog(self.folder, self.progress.step, before)
        write_options(self.folder, self._options(), self.command)
        options, progress = self.options, self.progress
        log.info(
            "%s: %d parameters, %s", nets.kind(options.net).title, nets.parameter_count(self.network), self.arguments
        )
        log.info("%d images, %d samples an epoch", len(self.batches.dataset.images), self.sampler.samples)
        for change in self.changes:
            log.warning("%s", change)
        if progress.step:
            log.info("resumed at epoch %d, sample %d, step %d", progress.epoch + 1, progress.samples, progress.step)
        return run_log

    def _on_signal(self, number: int, _frame) -> None:
        if not self.received:
            self.received, self.received_at = number, time.monotonic()
        elif time.monotonic() - self.received_at > SAME_REQUEST:  # asked again: leave at once, the last save stands
            raise KeyboardInterrupt

    def _out_of_time(self) -> bool:
        return bool(self.options.minutes) and self.progress.seconds >= 60 * self.options.minutes

    def _position(self) -> float:
        """The place in the schedule, in epochs: of the time where that is limited, of the samples otherwise."""
        progress = self.progress
        if self.options.minutes:
            return self.options.nEpochs * progress.seconds / (60 * self.options.minutes)
        return progress.epoch + progress.samples / self.sampler.samples

    def _epoch(self) -> bool:
        """The rest of the epoch in progress; False if it was cut short."""
        options, progress = self.options, self.progress
        self.sampler.set_position(progress.epoch, progress.samples)
        name = f"epoch {progress.epoch + 1}" + ("" if options.minutes else f"/{options.nEpochs}")
        self.bar = tqdm(
            desc=name,
            total=self.sampler.samples,
            initial=progress.samples,
            unit="samples",
            disable=not self.main,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )
        with self.bar, logging_redirect_tqdm([log]):
            return train_one_epoch(
                self.callable,
                get_input(options.dataloader),
                self.batches,
                self.loss_function,
                self.optimizer,
                device=self.device,
                autocast=self.autocast,
                accumulate=options.accumulate,
                before_step=self._before_step,
                after_step=self._after_step,
            )

    def _before_step(self) -> None:
        rate = self.schedule(self._position(), self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _after_step(self, loss: float, samples: int) -> bool:
        """Count, log and save; False to end the epoch here. All processes decide alike."""
        progress, options = self.progress, self.options
        values = (loss, float(samples), time.monotonic() - self.started, float(self.received))
        loss, samples, progress.seconds, received = distributed.mean_over_processes(values, self.device)
        samples = round(samples * distributed.world())
        progress.step += 1
        progress.samples += samples
        progress.loss_sum += loss
        progress.loss_steps += 1
        if self.average is not None:
            self.average.update_parameters(self.network)
        rate = self.optimizer.param_groups[0]["lr"]
        self.bar.set_postfix(loss=f"{progress.loss_sum / progress.loss_steps:.4f}", lr=f"{rate:.2e}", refresh=False)
        self.bar.update(samples)
        if progress.step % options.log_every == 0:
            self._log_row()
        unfinished = progress.samples < self.sampler.samples  # a finished epoch is saved as such, after its validation
        if unfinished and time.monotonic() - self.saved > 60 * options.save_minutes > 0:
            self._save(LAST)
        if received and not self.received:  # by another process
            self._on_signal(signal.SIGTERM, None)
        return not received and not self._out_of_time()

    def _log_row(self, **validation: float) -> None:
        """A row of metrics: the mean loss since the last one and what validation measured, if there is anything."""
        progress = self.progress
        if not progress.loss_steps and not validation:
            return
        values = {
            "step": progress.step,
            "epoch": progress.epoch + round(progress.samples / self.sampler.samples, 4),
            "samples": progress.epoch * self.sampler.samples + progress.samples,
            "seconds": round(progress.seconds, 1),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        if progress.loss_steps:
            values["loss"] = progress.loss_sum / progress.loss_steps
        progress.loss_sum, progress.loss_steps = 0.0, 0
        if self.run_log:
            self.run_log.row(**values, **validation)

    def _end_epoch(self) -> None:
        """Save, validate and save again after an epoch, or what there was time for of one."""
        self._save(LAST)  # whatever validation meets
        validation = self._validate() if self.validation else {}
        self._log_row(**validation)
        if validation.get("psnr", float("-inf")) > self.progress.best:
            self.progress.best = validation["psnr"]
            if self.main:
                checkpoints.save(self.folder / BEST, self._content())
        self._save(f"model_epoch_{self._begun_epochs()}.pth")
        self._save(LAST)

    def _begun_epochs(self) -> int:
        """Epochs so far, the last of which may not be finished."""
        return self.progress.epoch + (self.progress.samples > 0)

    def _validate(self) -> dict[str, float]:
        """Mean figures on the validation images at --valid_quality, by the function that evaluation uses."""
        options = self.options
        network = self.average.module if self.average is not None else self.network
        model = Model(network, options.net, COLOR_MODES[options.colorMode], self.device, tile_side(network, None))

        def mean(codec: Codec) -> evaluation.Row:
            metrics = get_protocol("published").metrics()
            how = {"mode": options.colorMode, "quality": options.valid_quality, "metrics": metrics}
            return evaluation.mean_row(evaluation.evaluate(self.validation, model, codec=codec, **how))

        row = mean(get_codec(options.codec))
        figures = {"input_psnr": row["compressed"]["psnr"], **row["restored"]}
        log.info(
            "epoch %d: validation at quality %d: PSNR %.3f dB (%+.3f), SSIM %.4f, PSNR-B %.3f dB",
            self._begun_epochs(),
            options.valid_quality,
            figures["psnr"],
            figures["psnr"] - figures["input_psnr"],
            figures["ssim"],
            figures["psnr_b"],
        )
        if options.valid_degradation == "real":
            families = {family: mean(FamilyCodec(family, tuple(options.quality))) for family in FAMILIES}
            gains = {family: row["restored"]["psnr"] - row["compressed"]["psnr"] for family, row in families.items()}
            words = ", ".join(f"{family} {gain:+.3f}" for family, gain in gains.items())
            log.info("epoch %d: gain in PSNR on tables of each family: %s", self._begun_epochs(), words)
            figures |= {f"gain_{family}": gain for family, gain in gains.items()}
        return figures

    # -------------------------------------------------------------------------------------- checkpoints

    def _options(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in vars(self.options).items()}

    def _content(self) -> dict[str, Any]:
        """A checkpoint of the weights to use: the averaged ones with --ema."""
        network = self.average.module if self.average is not None else self.network
        return checkpoints.describe(network, self.options.net, self.arguments, self._options(), self._begun_epochs())

    def _save(self, name: str) -> None:
        """Write a checkpoint to resume from (first process only)."""
        self.saved = time.monotonic()
        if not self.main:
            return
        content = self._content()
        content["training"] = {
            "weights": {key: value.detach().cpu().contiguous() for key, value in self.network.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "averaged": int(self.average.n_averaged) if self.average is not None else None,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        checkpoints.save(self.folder / name, content)


def main(options: Namespace, given: set[str], *, program: str, argv: list[str]) -> int:
    """Train as options say, in one process or, with several --gpus, in one for each; returns the exit code.

    Args:
        given: the names of the options that the command line sets.
        program: the file to start for each process, with the arguments ``argv``.
    """
    with log_to_terminal():
        state, changes = None, []
        if options.resume:
            options, state, changes = resume_options(options, given)
        if len(options.gpus) > 1 and not distributed.under_torchrun():
            distributed.choose_device(options.cuda, options.gpus)  # a GPU that is missing is better told here, once
            return distributed.launch(program, argv, cuda=options.cuda, gpus=options.gpus)
        return train(options, state, command=["src/main.py", *argv], changes=changes)


def train(options: Namespace, state: dict[str, Any] | None, *, command: list[str], changes: Sequence[str] = ()) -> int:
    """Train from the start, or from the checkpoint ``state`` if ``options.resume`` is set; returns the exit code.

    ``changes`` are those of `resume_options`, for the log.
    """
    device = distributed.choose_device(options.cuda, options.gpus)
    distributed.start(device)
    log.setLevel(logging.INFO if distributed.rank() == 0 else logging.ERROR)
    try:
        # Gradients of what has died fade into denormal numbers, which make a processor's step several times as slow.
        torch.set_flush_denormal(True)
        with remembered() as before:
            training = Training(options, state, command=command, changes=changes)
        return training.run(before)
    finally:
        torch.set_flush_denormal(False)
        distributed.stop()


@contextmanager
def log_to_terminal() -> Iterator[None]:
    """Show the messages of training on standard error."""
    handler = logging.StreamHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
