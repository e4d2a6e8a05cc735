"""A training run in its folder: epochs, validation, saves, rows of the log."""

import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from qgcn import checkpoints
from qgcn.dataset.crops import StepSampler
from qgcn.training.log import RunLog, write_options
from qgcn.training.schedule import Limit, Schedule, Signals
from qgcn.training.state import BEST, LAST, State
from qgcn.utils import distributed
from qgcn.utils.errors import UserError, is_out_of_memory
from qgcn.utils.files import locked, remove_leftovers

log = logging.getLogger("train")


def check_unused(folder: Path) -> None:
    """Raise UserError if a run lies in ``folder`` already."""
    if any(folder.glob("model_*.pth")):
        raise UserError(f"{str(folder)!r} already holds a run: give another --savedir, or --resume it")


@dataclass(kw_only=True)
class Run:
    """Training from a state to a limit."""

    folder: Path  # where all that explains the run's numbers is written
    command: list[str]  # the words that started it, for options.json
    state: State  # what is trained; its progress says where a resumed run goes on
    device: torch.device
    sampler: StepSampler  # decides the samples of ``train_epoch``
    train_epoch: Callable[..., bool]  # `epoch.train_one_epoch` but for ``before_step`` and ``after_step``
    schedule: Schedule
    limit: Limit
    # called after each epoch with the network and the number of epochs: returns columns of metrics.csv
    validate: Callable[[nn.Module, int], dict[str, float]] | None = None
    left_out: int = 0  # the number of images that can't be used, for which the exit code is 1
    log_every: int = 100  # steps between rows of the log
    save_minutes: float = 10.0  # minutes between saves in an epoch; 0 saves at its end alone

    def run(self, before: Sequence[logging.LogRecord] = ()) -> int:
        """Train to the end, or to a signal; returns the exit code, 1 if images were left out.

        ``before`` is what was logged while the run was built, for the log of its folder.
        """
        self.first, self.run_log, self.signals = distributed.rank() == 0, None, Signals()
        busy = f"another run is writing into {str(self.folder)!r}: wait for its end, or give another --savedir"
        with ExitStack() as stack:
            if self.first:
                stack.enter_context(locked(self.folder, busy))
                if not self.state.progress.step:
                    check_unused(self.folder)  # once more: another run may have begun since this one was built
                remove_leftovers(self.folder)
                self.run_log = stack.enter_context(RunLog(self.folder, self.state.progress, before))
                write_options(self.folder, self.state.options, self.command)
            stack.enter_context(self.signals)
            return self._run()

    def _run(self) -> int:
        progress = self.state.progress
        self.saved = time.monotonic()
        self.began = self.saved - progress.seconds
        if progress.step:
            log.info("resumed at epoch %d, sample %d, step %d", progress.epoch + 1, progress.samples, progress.step)
        if progress.validation_due:
            self._end_epoch()
        elif self.limit.reached(progress):
            limit = "--minutes {1:g}" if self.limit.minutes else "--nEpochs {0}"
            log.warning("nothing is left to train up to %s: raise it to go on", limit.format(*self.limit))
        while not self.limit.reached(progress):
            finished = self._epoch()
            if not finished and not self.limit.out_of_time(progress):
                self._save(LAST)
                log.info("stopped by signal %d at step %d; go on with --resume", self.signals.received, progress.step)
                return 128 + self.signals.received
            if finished or progress.samples >= self.sampler.samples:
                progress.epoch, progress.samples = progress.epoch + 1, 0
            self._end_epoch()
        distributed.barrier()  # or an exit code of 1 would have the others stop the one that still saves
        log.info("finished after %d steps, %.1f minutes", progress.step, progress.seconds / 60)
        if self.left_out:
            log.warning("exit code 1: %d images were left out (see above)", self.left_out)
        return 1 if self.left_out else 0

    def _epoch(self) -> bool:
        """The rest of the epoch in progress; False if it was cut short."""
        progress = self.state.progress
        self.sampler.set_position(progress.epoch, progress.samples)
        bar = tqdm(
            desc=f"epoch {progress.epoch + 1}" + ("" if self.limit.minutes else f"/{self.limit.epochs}"),
            total=self.sampler.samples,
            initial=progress.samples,
            unit="samples",
            disable=not self.first,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )
        try:
            with bar, logging_redirect_tqdm([log]):
                return self.train_epoch(before_step=self._set_rate, after_step=partial(self._after_step, bar))
        except FloatingPointError as error:
            reason, remedy = error, "lower --lr or add --warmup"
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason, remedy = "the memory is full", "--accumulate 4 computes a batch in parts"
        raise UserError(f"{reason} at step {progress.step + 1}: {remedy}; what was saved before stands")

    def _set_rate(self) -> None:
        progress = self.state.progress
        rate = self.schedule(self.limit.position(progress, self.sampler.samples), progress.step)
        for group in self.state.optimizer.param_groups:
            group["lr"] = rate

    def _after_step(self, bar: tqdm, loss: float, samples: int) -> bool:
        """Count, log and save; False to end the epoch here. All processes decide alike."""
        progress = self.state.progress
        values = (loss, float(samples), time.monotonic() - self.began, float(self.signals.received))
        loss, samples, progress.seconds, received = distributed.mean_over_processes(values, self.device)
        samples = round(samples * distributed.world())
        self.state.count_step(loss, samples)
        rate = self.state.optimizer.param_groups[0]["lr"]
        bar.set_postfix(loss=f"{progress.loss_sum / progress.loss_steps:.4f}", lr=f"{rate:.2e}", refresh=False)
        bar.update(samples)
        if progress.step % self.log_every == 0:
            self._log_row()
        unfinished = progress.samples < self.sampler.samples  # a finished epoch is saved as such
        if unfinished and time.monotonic() - self.saved > 60 * self.save_minutes > 0:
            self._save(LAST)
        if received and not self.signals.received:  # by another process
            self.signals.request(signal.SIGTERM)
        return not received and not self.limit.out_of_time(progress)

    def _end_epoch(self) -> None:
        """Validate and save after an epoch, or what there was time for of one.

        A kill costs validation alone: what was trained is saved before it, with a note that validation is due.
        """
        progress, figures = self.state.progress, {}
        if self.validate:
            progress.validation_due = True
            self._save(LAST)
            figures = self.validate(self.state.network_to_use, progress.begun_epochs)
        progress.validation_due = False
        self._log_row(**figures)
        if figures.get("psnr", float("-inf")) > progress.best:
            progress.best = figures["psnr"]
            if self.first:
                checkpoints.save(self.folder / BEST, self.state.content())
        self._save(f"model_epoch_{progress.begun_epochs}.pth", LAST)

    def _log_row(self, **figures: float) -> None:
        """A row of metrics: the mean loss since the last one and the figures of validation, if there is anything."""
        progress = self.state.progress
        if not progress.loss_steps and not figures:
            return
        if progress.loss_steps:
            figures["loss"] = progress.loss_sum / progress.loss_steps
        progress.loss_sum, progress.loss_steps = 0.0, 0
        if self.run_log:
            self.run_log.row(
                step=progress.step,
                epoch=progress.epoch + round(progress.samples / self.sampler.samples, 4),
                samples=progress.epoch * self.sampler.samples + progress.samples,
                seconds=round(progress.seconds, 1),
                lr=self.state.optimizer.param_groups[0]["lr"],
                **figures,
            )

    def _save(self, name: str, copy: str = "") -> None:
        """Write a checkpoint to resume from, and a copy of it under another name (first process only)."""
        self.saved = time.monotonic()
        if self.first:
            self.state.save(self.folder / name, self.folder / copy if copy else None)
