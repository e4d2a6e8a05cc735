"""The one exception that users see as a sentence."""

import re

_TOO_LITTLE = re.compile(r"out of memory|not enough memory|allocat|bad_alloc", re.IGNORECASE)
"""What PyTorch, OpenVINO and ONNX Runtime say then; an illegal memory access is another matter."""


class UserError(ValueError):
    """Something the user can mend; the text is one sentence with the value and the remedy."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python or PyTorch (a RuntimeError on a GPU as on the CPU) found too little memory."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_TOO_LITTLE.search(str(error))))
