"""Checkpoints of the published program: whole pickled modules, read as data and nothing else.

The published program saved ``{"epoch", "model", "opt"}`` with the module itself under "model", by torch 0.4.1 (one
stream: pickles, then storages) or later (a zip archive). Here such a pickle is read by an unpickler that admits a short
list of names, none of which runs code of the file's choosing: modules become records of their attributes,
storages become tensors, and any other name is refused.

torch.load with such an unpickler as its pickle_module would not do: it runs TorchScript that lies in an archive, and
at a class whose source text differs from the file's it writes a patch to a place of the file's choosing.
"""

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from qgcn.utils.errors import UserError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of torch's stream format

STORAGE_TYPES = {f"{name}Storage": getattr(torch, name.lower()) for name in ("Float", "Double", "Half", "Long", "Int")}
STORAGE_TYPES["ByteStorage"] = torch.uint8
NETWORKS = {
    "nets.qmar.Net": "qmar",
    "nets.qmarg.Net": "qmarg",
    "nets.edsr.Net": "edsr",
    "nets.arcnn.ARCNN": "arcnn",
    "nets.arcnn.FastARCNN": "arcnn-FastARCNN",
}
"""Pickled class -> the network's name."""

RESIDUAL_BLOCK = "nets.base.Residual_Block"
DATA_PARALLEL = "torch.nn.parallel.data_parallel.DataParallel"
MODULES = (
    *NETWORKS,
    RESIDUAL_BLOCK,
    DATA_PARALLEL,
    *(f"torch.nn.modules.{name}" for name in ("activation.PReLU", "activation.ReLU", "container.Sequential")),
    *(f"torch.nn.modules.{name}" for name in ("conv.Conv2d", "conv.ConvTranspose2d", "linear.Linear")),
    "torch.nn.modules.pixelshuffle.PixelShuffle",
)
"""Classes that become records."""


class NoCheckpoint(pickle.UnpicklingError):
    """The reason for which a file is not taken, for its user."""


class _Record:
    """A pickled object of an admitted class: its attributes, no behaviour."""

    kind = ""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise NoCheckpoint(f"{self.kind} has no plain attributes")
        self.__dict__.update(state)


def _rebuild_tensor(storage: Tensor, offset, size, stride, *_) -> Tensor:
    """A tensor on ``storage`` (1-D), no larger than that; its bounds are checked by as_strided."""
    if math.prod(size) > storage.numel():
        raise NoCheckpoint("a tensor is larger than its storage")
    return storage.as_strided(tuple(size), tuple(stride), int(offset))


ADMITTED = {
    **{name: type(name.rsplit(".", 1)[1], (_Record,), {"kind": name}) for name in MODULES},
    **{f"{module}.{name}": dtype for module in ("torch", "torch.cuda") for name, dtype in STORAGE_TYPES.items()},
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.nn.parameter.Parameter": lambda data, *_: data,
    "torch.nn.backends.thnn._get_thnn_function_backend": lambda *_: None,
    "torch.device": lambda *_: None,
    "torch.Size": tuple,
    "__builtin__.set": set,  # later versions' list of buffers that are not saved
    "builtins.set": set,
}
"""Name in a pickle -> what stands for it here; there are no others."""


class _Reader(pickle._Unpickler):
    """An unpickler that admits ADMITTED and refuses every other name, and the storages that its pickles mention.

    It is Python's own unpickler, not its C twin: that one allocates a memo of any length that a damaged byte names,
    which can take all memory of the machine.

    Args:
        file: of pickles.
        limit: bytes that the storages may have together, allocated at first mention and filled later.
    """

    def __init__(self, file: BinaryIO, limit: int):
        super().__init__(file, encoding="utf-8")
        self.limit = limit
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path not in ADMITTED:
            raise NoCheckpoint(f"it names {path}, which no checkpoint of these networks needs")
        return ADMITTED[path]

    def persistent_load(self, identity: Any) -> Any:
        if not isinstance(identity, tuple) or not identity:
            raise NoCheckpoint("it refers to something outside the file")
        if identity[0] == "module":  # the class, then its source file and text, which nobody needs
            return identity[1]
        if identity[0] != "storage" or len(identity) < 5:
            raise NoCheckpoint("it refers to something that is neither a module nor a storage")
        _, dtype, key, _location, count = identity[:5]
        if not isinstance(dtype, torch.dtype) or not isinstance(count, int) or count < 0:
            raise NoCheckpoint("a storage is not described as torch does")
        if key not in self.storages:
            self.limit -= count * dtype.itemsize
            if self.limit < 0:
                raise NoCheckpoint("its tensors are larger than the file")
            self.storages[key] = torch.zeros(count, dtype=dtype)
        return self.storages[key]

    def fill(self, key: str, size: int, file: BinaryIO) -> None:
        """Read storage ``key``, ``size`` little-endian bytes, from ``file``."""
        storage = self.storages[key]
        if size != storage.nbytes or len(data := file.read(size)) != size:
            raise NoCheckpoint(f"storage {key} has the wrong size")
        if data:
            storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype))


def _read_zip(path: Path) -> Any:
    """The object in torch's zip format."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
        with archive.open(name) as file:
            reader = _Reader(file, path.stat().st_size)
            content = reader.load()
        for key in reader.storages:
            entry = archive.getinfo(f"{name.removesuffix('data.pkl')}data/{key}")
            with archive.open(entry) as file:
                reader.fill(key, entry.file_size, file)
    return content


def _read_stream(path: Path) -> Any:
    """The object in torch 0.4.1's format: magic, protocol, system, object and keys as pickles, then storages."""
    with open(path, "rb") as file:
        reader = _Reader(file, path.stat().st_size)
        if reader.load() != MAGIC or reader.load() != PROTOCOL:
            raise NoCheckpoint("it is not a torch checkpoint")
        reader.load()  # byte order and sizes of C types: always little-endian in practice
        content = reader.load()
        for key in reader.load():
            (count,) = struct.unpack("<q", file.read(8))
            reader.fill(key, count * reader.storages[key].itemsize, file)
    return content


def _state(record: _Record, prefix: str = "") -> dict[str, Tensor]:
    """Parameters and buffers of a module record by their full names."""
    attributes = vars(record)
    own = {**attributes.get("_parameters", {}), **attributes.get("_buffers", {})}
    state = {prefix + name: tensor for name, tensor in own.items() if isinstance(tensor, Tensor)}
    for name, module in attributes.get("_modules", {}).items():
        if isinstance(module, _Record):
            state |= _state(module, f"{prefix}{name}.")
    return state


def _res_scale(record: _Record) -> float | None:
    """The res_scale of the first residual block, if there is one."""
    if record.kind == RESIDUAL_BLOCK:
        return vars(record).get("res_scale")
    modules = vars(record).get("_modules", {}).values()
    scales = (_res_scale(module) for module in modules if isinstance(module, _Record))
    return next((scale for scale in scales if scale is not None), None)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of the published program without running anything in it.

    Returns:
        What checkpoints.describe says of a network but the format: net, arguments, model (without DataParallel's
        'module.'), opt (plain values only) and epoch.

    Raises:
        UserError: if it is no such checkpoint, damaged, or names anything that is not admitted.
    """
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_stream(path)
        if not isinstance(content, dict):
            content = {"model": content}
        module = content["model"]
        while isinstance(module, _Record) and module.kind == DATA_PARALLEL:
            module = vars(module)["_modules"]["module"]
        if not isinstance(module, _Record) or module.kind not in NETWORKS:
            raise NoCheckpoint("it holds no network of this project")
        name, state = NETWORKS[module.kind], _state(module)
        options = content.get("opt")
        options = vars(options) if isinstance(options, _Record) else options if isinstance(options, dict) else {}
        options = {key: value for key, value in options.items() if isinstance(value, str | int | float | bool | None)}
        scale = _res_scale(module)
        try:
            arguments = infer_arguments(name, state, float(options.get("res_scale", 0.1) if scale is None else scale))
        except (LookupError, ValueError) as error:
            raise NoCheckpoint(f"it lacks weights of its network {name}: {error}") from None
        epoch = int(content.get("epoch", 0))
    except Exception as error:  # the bytes of the file decide what fails, and how
        raise UserError(f"the checkpoint {str(path)!r} can't be read: {_reason(error)}") from None
    return {"net": name, "arguments": arguments, "model": state, "opt": options, "epoch": epoch}


def infer_arguments(name: str, state: Mapping[str, Tensor], res_scale: float) -> dict[str, Any]:
    """The constructor arguments of the network ``name`` with this state dict.

    Shapes say everything but ``res_scale``; the published program's own options don't (an odd n_resblocks loses a
    block there). Raises KeyError if the state dict is another network's.
    """
    if name.startswith("arcnn"):
        return {"channels": state["base.0.weight"].shape[1]}
    features, in_channel = state["conv_input.weight"].shape[:2]
    arguments = {
        "in_channel": in_channel,
        "out_channel": state["conv_output.weight"].shape[0],
        "n_feats": features,
        "n_resblocks": len({key.rsplit(".", 2)[0] for key in state if key.startswith("residual")}),
        "res_scale": res_scale,
    }
    if name == "qmarg":
        arguments["global_feats"], arguments["in_glo_channel"] = state["conv_global.0.weight"].shape[:2]
        arguments["global_hidden"] = state["conv_global_l.0.weight"].shape[0]
    return arguments


def _reason(error: Exception) -> str:
    """What is wrong with a file, on one line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = str(error) if isinstance(error, NoCheckpoint | OSError) else "it is damaged or no checkpoint (a .pth file)"
    return " ".join(reason.split())[:300]
