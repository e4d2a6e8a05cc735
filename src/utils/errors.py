"""The one exception that users see as a sentence."""


class UserError(ValueError):
    """Something the user can mend; the text is one sentence with the value and the remedy."""
