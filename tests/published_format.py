"""Writes checkpoints as the published program did: whole pickled modules, in both of torch's file formats."""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
STREAM_START = b"".join(pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, SYSTEM))
"""What torch 0.4.1's format begins with, before the object."""


class Storage:
    """Stands for a tensor's storage in the pickle."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor.detach().contiguous().reshape(-1)


def data_parallel(module: nn.Module) -> nn.DataParallel:
    """The module in nn.DataParallel, as on two GPUs, made without its need of them."""
    parallel = nn.DataParallel.__new__(nn.DataParallel)
    nn.Module.__init__(parallel)
    parallel.module = module
    parallel.device_ids, parallel.output_device, parallel.dim = [0, 1], 0, 0
    return parallel


def _backend():
    """torch 0.4.1's torch.nn.backends.thnn._get_thnn_function_backend."""


def _old_modules() -> None:
    """Let the pickler find the names that only torch 0.4.1 had."""
    for name in ("torch.nn.backends", "torch.nn.backends.thnn"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["torch.nn.backends.thnn"]._get_thnn_function_backend = _backend
    _backend.__module__, _backend.__qualname__ = "torch.nn.backends.thnn", "_get_thnn_function_backend"


@contextmanager
def published_names():
    """Let the pickler find the networks' classes where the published program had them (nets.qmar.Net)."""
    modules = {name.removeprefix("qgcn."): module for name, module in sys.modules.items() if "qgcn.nets" in name}
    classes = [value for module in modules.values() for value in vars(module).values() if isinstance(value, type)]
    ours = {value: value.__module__ for value in classes if value.__module__.startswith("qgcn.nets")}
    sys.modules.update(modules)
    for value, module in ours.items():
        value.__module__ = module.removeprefix("qgcn.")
    try:
        yield
    finally:
        for value, module in ours.items():
            value.__module__ = module
        for name in modules:
            del sys.modules[name]


class _Backend:
    def __reduce__(self):
        return _backend, ()


class Pickler(pickle.Pickler):
    """Pickles modules and tensors as torch did."""

    def __init__(self, file, *, stream: bool, location: str):
        super().__init__(file, protocol=2)
        self.stream, self.location = stream, location
        self.storages: dict[str, Storage] = {}
        self.seen: set[type] = set()

    def persistent_id(self, value: Any):
        if self.stream and isinstance(value, type) and issubclass(value, nn.Module) and value not in self.seen:
            self.seen.add(value)
            return "module", value, f"/home/somebody/{value.__name__}.py", "class Net: the source text"
        if isinstance(value, Storage):
            key = str(len(self.storages))
            self.storages[key] = value
            kind = torch.cuda.FloatStorage if self.location != "cpu" and not self.stream else torch.FloatStorage
            identity = ("storage", kind, key, self.location, value.tensor.numel())
            return (*identity, None) if self.stream else identity
        return None

    def reducer_override(self, value: Any):
        if isinstance(value, torch.Tensor):
            stride = value.contiguous().stride()
            arguments = (Storage(value), 0, tuple(value.shape), stride, True, OrderedDict())
            if self.stream:
                return torch._utils._rebuild_tensor_v2, arguments
            return torch._utils._rebuild_parameter, (_AsTensor(arguments), True, OrderedDict())
        if isinstance(value, nn.Module):
            state = dict(value.__dict__)
            if self.stream:
                state = {key: state[key] for key in state if key in ("_parameters", "_buffers", "_modules", "training")}
                state["_backend"] = _Backend()
                state["_backward_hooks"] = OrderedDict()
                state |= {key: value.__dict__[key] for key in ("res_scale", "device_ids") if key in value.__dict__}
            return object.__reduce_ex__(value, 2)[0], (type(value),), state
        return NotImplemented


class _AsTensor:
    def __init__(self, arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


def write(path: Path, content: Any, *, stream: bool, location: str = "cpu") -> Path:
    """Write ``content`` in torch 0.4.1's stream format or as a zip archive."""
    _old_modules()
    body = io.BytesIO()
    pickler = Pickler(body, stream=stream, location=location)
    with published_names():
        pickler.dump(content)
    if stream:
        with open(path, "wb") as file:
            file.write(STREAM_START)
            file.write(body.getvalue())
            pickle.dump(list(pickler.storages), file, 2)
            for storage in pickler.storages.values():
                file.write(struct.pack("<q", storage.tensor.numel()) + storage.tensor.numpy().tobytes())
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("archive/data.pkl", body.getvalue())
            for key, storage in pickler.storages.items():
                archive.writestr(f"archive/data/{key}", storage.tensor.numpy().tobytes())
            archive.writestr("archive/version", "3\n")
    return path
