"""Errors of the operating system, for messages: above all a disk that is full."""

import errno
import os

#: What a full disk raises, and a quota that is used up.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def describe(error: Exception) -> str:
    """Return what is wrong, without the error's own text, which may contain an address."""
    name = type(error).__name__
    if not isinstance(error, OSError) or not error.errno:
        return name
    text = os.strerror(error.errno)
    return f"{text}; free some space, or enlarge it" if error.errno in _FULL else f"{text} ({name})"


def is_full(error: BaseException | None) -> bool:
    """Return whether a full disk caused an error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False
