"""Processes and devices: one process as the simple case of many (torchrun, DistributedDataParallel)."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from qgcn.utils.errors import UserError

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
    """Run ``program`` once for each of ``gpus`` on this machine, as torchrun would; without ``cuda`` on the CPU.

    Signals are passed on, and when one process fails the others are stopped.

    Returns:
        The exit code: the first that is not 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": len(gpus), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if cuda:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # a scheduler's: --gpus counts among these
        names = visible.split(",") if visible else None
        common["CUDA_VISIBLE_DEVICES"] = ",".join(names[gpu] if names else str(gpu) for gpu in gpus)
    else:
        common["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", max(1, torch.get_num_threads() // len(gpus)))
    processes = []
    for number in range(len(gpus)):
        own = {key: str(value) for key, value in (common | {"RANK": number, "LOCAL_RANK": number}).items()}
        processes.append(subprocess.Popen([sys.executable, program, *argv], env=os.environ | own))

    def pass_on(number: int, _frame) -> None:
        for process in processes:
            process.send_signal(number)

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        running = list(processes)
        while running and not any(process.poll() for process in processes):
            running = [process for process in processes if process.poll() is None]
            time.sleep(0.1)
        stopped = {128 + number for number in previous}  # a process that was signalled saves and ends by itself
        patience = 300 if any(process.poll() in stopped for process in processes) else 5
        for process in running:
            try:
                process.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                process.kill()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    codes = [process.wait() for process in processes]
    return next((code if code > 0 else 128 - code for code in codes if code), 0)


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


def in_turn(function: Callable[[], Any]) -> Any:
    """What ``function`` returns, called by the first process and then by the others, for which it may prepare files.

    Raises:
        UserError: on all processes what the first one raises.
    """
    if not distributed.is_initialized():
        return function()
    result, problem = None, [""]
    if rank() == 0:
        try:
            result = function()
        except UserError as error:
            problem = [str(error)]
    distributed.broadcast_object_list(problem)
    if problem[0]:
        distributed.barrier()  # all know it before the first one leaves
        raise UserError(problem[0])
    return result if rank() == 0 else function()


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
