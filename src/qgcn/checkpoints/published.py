"""Checkpoints of the published program: whole pickled modules, read as data and nothing else.

The published program saved ``{"epoch", "model", "opt"}`` with the module itself under "model", by torch 0.4.1 (one
stream: pickles, then storages) or later (a zip archive). Here such a pickle is read by an unpickler that admits a short
list of names, none of which runs code of the file's choosing: modules become records of their attributes,
storages become tensors, and any other name is refused.
"""

import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from qgcn.utils.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
"""First two pickles of torch's stream format."""

STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
}

MODULES = frozenset(
    {
        "nets.qmar.Net",
        "nets.qmarg.Net",
        "nets.edsr.Net",
        "nets.arcnn.ARCNN",
        "nets.arcnn.FastARCNN",
        "nets.base.Residual_Block",
        "torch.nn.modules.activation.PReLU",
        "torch.nn.modules.activation.ReLU",
        "torch.nn.modules.container.Sequential",
        "torch.nn.modules.conv.Conv2d",
        "torch.nn.modules.conv.ConvTranspose2d",
        "torch.nn.modules.linear.Linear",
        "torch.nn.modules.pixelshuffle.PixelShuffle",
        "torch.nn.parallel.data_parallel.DataParallel",
    }
)
"""Classes that become records."""

NETWORKS = {
    "nets.qmar.Net": "qmar",
    "nets.qmarg.Net": "qmarg",
    "nets.edsr.Net": "edsr",
    "nets.arcnn.ARCNN": "arcnn",
    "nets.arcnn.FastARCNN": "arcnn-FastARCNN",
}
"""Pickled class -> the network's name."""


class LegacyCheckpoint(NamedTuple):
    """What a published checkpoint says.

    Attributes:
        name: of the network, as on the command line.
        state: parameter name -> tensor on the CPU, without DataParallel's 'module.'.
        res_scale: of its residual blocks.
        epoch: when it was saved.
        options: the published program's options, plain values only.
    """

    name: str
    state: dict[str, torch.Tensor]
    res_scale: float
    epoch: int
    options: dict[str, Any]


class NoCheckpoint(pickle.UnpicklingError):
    """The reason for which a file is not taken, for its user."""


class _Record:
    """A pickled object of an admitted class: its attributes, no behaviour."""

    kind = ""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise NoCheckpoint(f"{self.kind} has no plain attributes")
        self.__dict__.update(state)


RECORDS = {name: type(name.rsplit(".", 1)[1], (_Record,), {"kind": name}) for name in MODULES}


def _rebuild_tensor(storage, offset, size, stride, *_) -> torch.Tensor:
    """A tensor on ``storage`` (1-D tensor), no larger than that; its bounds are checked by as_strided."""
    if math.prod(size) > storage.numel():
        raise NoCheckpoint("a tensor is larger than its storage")
    return storage.as_strided(tuple(size), tuple(stride), int(offset))


def _rebuild_parameter(data, *_) -> torch.Tensor:
    return data


def _nothing(*_) -> None:
    return None


FUNCTIONS = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.nn.parameter.Parameter": _rebuild_parameter,
    "torch.nn.backends.thnn._get_thnn_function_backend": _nothing,
    "torch.device": _nothing,
    "torch.Size": tuple,
    "__builtin__.set": set,  # later versions' list of buffers that are not saved
    "builtins.set": set,
    **{f"torch.{name}": dtype for name, dtype in STORAGE_TYPES.items()},
    **{f"torch.cuda.{name}": dtype for name, dtype in STORAGE_TYPES.items()},
}
"""The other admitted names."""


class _Unpickler(pickle._Unpickler):
    """Admits MODULES and FUNCTIONS and refuses every other name.

    Python's own unpickler, not its C twin: that one allocates a memo of any length that a damaged byte names, which
    can take all memory of the machine.
    """

    def __init__(self, file: BinaryIO, storages: "_Storages"):
        super().__init__(file, encoding="utf-8")
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        found = RECORDS.get(path) or FUNCTIONS.get(path)
        if found is None:
            raise NoCheckpoint(f"it names {path}, which no checkpoint of these networks needs")
        return found

    def persistent_load(self, identity: Any) -> Any:
        if not isinstance(identity, tuple) or not identity:
            raise NoCheckpoint("it refers to something outside the file")
        if identity[0] == "module":  # the class, then its source file and text, which nobody needs
            return identity[1]
        if identity[0] == "storage" and len(identity) >= 5:
            return self.storages.get(*identity[1:5])
        raise NoCheckpoint("it refers to something that is neither a module nor a storage")


class _Storages:
    """The tensors behind storages, allocated at first mention and filled from the file."""

    def __init__(self, limit: int):
        self.limit = limit
        self.tensors: dict[str, torch.Tensor] = {}

    def get(self, dtype: torch.dtype, key: str, _location: str, count: int) -> torch.Tensor:
        """The 1-D tensor of storage ``key``."""
        if not isinstance(dtype, torch.dtype) or not isinstance(count, int) or count < 0:
            raise NoCheckpoint("a storage is not described as torch does")
        if key not in self.tensors:
            self.limit -= count * dtype.itemsize
            if self.limit < 0:
                raise NoCheckpoint("its tensors are larger than the file")
            self.tensors[key] = torch.zeros(count, dtype=dtype)
        return self.tensors[key]

    def fill(self, key: str, data: bytes) -> None:
        """Copy little-endian ``data`` into storage ``key``."""
        tensor = self.tensors[key]
        if len(data) != tensor.numel() * tensor.itemsize:
            raise NoCheckpoint(f"storage {key} holds {len(data)} bytes, not {tensor.numel() * tensor.itemsize}")
        if data:
            tensor.copy_(torch.frombuffer(bytearray(data), dtype=tensor.dtype))


def _read_zip(path: Path) -> Any:
    """The object in torch's zip format."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
        prefix = name.removesuffix("data.pkl")
        storages = _Storages(path.stat().st_size)
        with archive.open(name) as file:
            result = _Unpickler(file, storages).load()
        for key, tensor in storages.tensors.items():
            entry = archive.getinfo(f"{prefix}data/{key}")
            if entry.file_size != tensor.numel() * tensor.itemsize:
                raise NoCheckpoint(f"storage {key} has the wrong size")
            storages.fill(key, archive.read(entry))
    return result


def _read_stream(path: Path) -> Any:
    """The object in torch 0.4.1's format: magic, protocol, system, object and keys as pickles, then storages."""
    storages = _Storages(path.stat().st_size)
    with open(path, "rb") as file:
        if _Unpickler(file, storages).load() != MAGIC or _Unpickler(file, storages).load() != PROTOCOL:
            raise NoCheckpoint("it is not a torch checkpoint")
        _Unpickler(file, storages).load()  # byte order and sizes of C types: always little-endian in practice
        result = _Unpickler(file, storages).load()
        for key in _Unpickler(file, storages).load():
            (count,) = struct.unpack("<q", file.read(8))
            tensor = storages.tensors[key]
            if count != tensor.numel():
                raise NoCheckpoint(f"storage {key} has the wrong size")
            storages.fill(key, file.read(count * tensor.itemsize))
    return result


def _state(record: _Record, prefix: str = "") -> dict[str, torch.Tensor]:
    """Parameters and buffers of a module record by their full names."""
    found = {}
    for table in ("_parameters", "_buffers"):
        for name, tensor in record.__dict__.get(table, {}).items():
            if isinstance(tensor, torch.Tensor):
                found[prefix + name] = tensor
    for name, module in record.__dict__.get("_modules", {}).items():
        if isinstance(module, _Record):
            found |= _state(module, f"{prefix}{name}.")
    return found


def _res_scale(record: _Record) -> float | None:
    """The res_scale of the first residual block, if there is one."""
    if record.kind == "nets.base.Residual_Block":
        return record.__dict__.get("res_scale")
    scales = (_res_scale(module) for module in record.__dict__.get("_modules", {}).values() if module is not None)
    return next((scale for scale in scales if scale is not None), None)


def load(path: str | Path) -> LegacyCheckpoint:
    """Read a checkpoint of the published program without running anything in it.

    Raises:
        UserError: if it is no such checkpoint, damaged, or names anything that is not admitted.
    """
    path = Path(path)
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_stream(path)
        module = content["model"] if isinstance(content, dict) else content
        while isinstance(module, _Record) and module.kind.endswith(".DataParallel"):
            module = module.__dict__["_modules"]["module"]
        if not isinstance(module, _Record) or module.kind not in NETWORKS:
            raise NoCheckpoint("it holds no network of this project")
        options = content.get("opt") if isinstance(content, dict) else None
        options = options if isinstance(options, dict) else vars(options) if isinstance(options, _Record) else {}
        plain = {key: value for key, value in options.items() if isinstance(value, str | int | float | bool | None)}
        scale = _res_scale(module)
        return LegacyCheckpoint(
            NETWORKS[module.kind],
            {name: tensor.clone() for name, tensor in _state(module).items()},
            float(plain.get("res_scale", 0.1) if scale is None else scale),
            int(content.get("epoch", 0)) if isinstance(content, dict) else 0,
            plain,
        )
    except Exception as error:  # the bytes of the file decide what fails, and how
        raise UserError(f"the checkpoint {str(path)!r} can't be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What is wrong with a file, on one line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = str(error) if isinstance(error, NoCheckpoint | OSError) else "it is damaged or no checkpoint (a .pth file)"
    return " ".join(reason.split())[:300]


def infer_arguments(name: str, state: Mapping[str, torch.Tensor], res_scale: float) -> dict[str, Any]:
    """The constructor arguments of a network whose published checkpoint has the state dict ``state``.

    Shapes say everything but ``res_scale``; the published program's own options don't (an odd n_resblocks loses a
    block there). Raises KeyError if the state dict is another network's.
    """
    if name.startswith("arcnn"):
        return {"channels": state["base.0.weight"].shape[1]}
    features, in_channel = state["conv_input.weight"].shape[:2]
    blocks = {key.rsplit(".", 2)[0] for key in state if key.startswith("residual")}
    chosen = {
        "in_channel": in_channel,
        "out_channel": state["conv_output.weight"].shape[0],
        "n_feats": features,
        "n_resblocks": len(blocks),
        "res_scale": res_scale,
    }
    if name == "qmarg":
        chosen["global_feats"], chosen["in_glo_channel"] = state["conv_global.0.weight"].shape[:2]
        chosen["global_hidden"] = state["conv_global_l.0.weight"].shape[0]
    return chosen
