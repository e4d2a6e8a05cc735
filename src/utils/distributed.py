"""Processes and devices: one process as the simple case of many (torchrun, DistributedDataParallel)."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from utils.errors import UserError

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other, the first decoding of a large data set included."""


def choose_device(cuda: bool, gpus: Sequence[int]) -> torch.device:
    """The device of this process: the CPU, the first of ``gpus``, or under torchrun the GPU of its local rank.

    Raises:
        UserError: if there is no such GPU.
    """
    if not cuda:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("--cuda was given but torch finds no CUDA GPU here: leave --cuda out to run on the CPU")
    local_rank = os.environ.get("LOCAL_RANK")
    wanted = list(gpus) if local_rank is None else [int(local_rank)]
    count = torch.cuda.device_count()
    for gpu in wanted:
        if gpu >= count:
            raise UserError(f"GPU {gpu} was asked for but this machine has {count}, counted from 0: change --gpus")
    device = torch.device("cuda", wanted[0])
    torch.cuda.set_device(device)
    return device


def start(device: torch.device) -> None:
    """Join the other processes if torchrun started this one; alone, do nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)


def stop() -> None:
    """Leave the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def under_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return "LOCAL_RANK" in os.environ


def launch(program: str, argv: Sequence[str], *, cuda: bool, gpus: Sequence[int]) -> int:
    """Run ``program`` once for each of ``gpus`` under torchrun on this machine; without ``cuda`` on the CPU.

    Returns:
        The exit code.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(gpus)}"]
    environment = dict(os.environ)
    if cuda:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    process = subprocess.Popen([*command, program, *argv], env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the children too; they save and end
            continue


def rank() -> int:
    """This process's number, 0 for the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """The number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Wait for all processes."""
    if distributed.is_initialized():
        distributed.barrier()


def mean_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """The mean of each value over all processes."""
    if not distributed.is_initialized():
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return (total / world()).tolist()


def gather(items: list[Any]) -> list[Any]:
    """The items of all processes, item i of process r at position i * world + r, on every process."""
    if not distributed.is_initialized():
        return items
    parts: list[list[Any]] = [[] for _ in range(world())]
    distributed.all_gather_object(parts, items)
    longest = max(map(len, parts))
    return [part[i] for i in range(longest) for part in parts if i < len(part)]
