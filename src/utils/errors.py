"""The one exception that users see as a sentence."""


class UserError(ValueError):
    """Something the user can mend; the text is one sentence with the value and the remedy."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python or PyTorch (a RuntimeError on a GPU as on the CPU) found too little memory."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error).lower())
