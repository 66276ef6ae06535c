"""Reading what is stored: what this service cannot have written is told as `RecordDamaged`, with whose it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import RecordDamaged
from jobs.fields import shown

#: What taking stored text apart can raise.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError)


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Around the reading of one thing, such as `job fox`. Raises `RecordDamaged` in place of what went wrong."""
    try:
        yield
    except UNREADABLE as error:
        raise RecordDamaged(what, why(error)) from error


def why(error: BaseException) -> str:
    """What went wrong, for a person."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return f"{type(error).__name__}: {shown(str(error))}"
