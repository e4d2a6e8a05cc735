"""The one exception that users see as a sentence, and the sentences that several modules need."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")

_TOO_LITTLE = re.compile(r"out of memory|not enough memory|allocat|bad_alloc", re.IGNORECASE)
"""What PyTorch and OpenVINO say then; an illegal memory access is another matter."""


class UserError(ValueError):
    """Something the user can mend; the text is one sentence with the value and the remedy."""


def choose(values: Mapping[str, Value], name: str, option: str) -> Value:
    """The value called ``name``; raises UserError with the valid names for another one, given by ``option``."""
    check_choice(name, values, option)
    return values[name]


def check_choice(name: str, names: Iterable[str], option: str) -> str:
    """``name`` itself if it is one of ``names``; raises UserError otherwise."""
    names = list(names)
    if name not in names:
        raise UserError(f"{option} {name!r} is unknown: choose from {', '.join(names)}")
    return name


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python or PyTorch (a RuntimeError on a GPU as on the CPU) found too little memory."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_TOO_LITTLE.search(str(error))))
