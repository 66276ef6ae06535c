"""What uploads of batches consist of, and what their errors say."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from boomerang_client.errors import BoomerangError, LineError, continue_upload
from boomerang_client.responses import BatchAccepted

PART_LINES = 5_000
PART_BYTES = 4 * 1024 * 1024
#: Seconds after which an incomplete part is sent when the next line arrives: lines may arrive slowly.
PART_AGE = 2.0
#: Refused lines that are listed; more are only counted.
MOST_ERRORS = 1_000
GZIP_LEVEL = 1  # lines of JSON shrink to a fifth at almost no cost

Progress = Callable[[BatchAccepted], None]

_log = logging.getLogger(__name__)


@dataclass
class Part:
    """Lines to send together. `generated`: the numbers of the lines whose ids the client generated."""

    started: float
    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    generated: set[int] = field(default_factory=set)
    size: int = 0


def name_batch(error: BaseException, batch: str, enqueued: int) -> None:
    """Add the id of a batch, and how to continue, to an error that ends its upload after jobs may have been enqueued.

    The error may be of any class: the caller's source raised it.
    """
    with suppress(AttributeError):  # its class may have slots
        error.repeat_id, error.enqueued = batch, enqueued  # type: ignore[attr-defined]
    if isinstance(error, BoomerangError):
        return  # its text includes them
    text = continue_upload(batch, enqueued)
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note(text)
    else:
        _log.error(text)


@contextmanager
def naming_batch(batch: str, enqueued: int) -> Iterator[None]:
    """Add the id of a batch to every error, also to Ctrl-C: its jobs are enqueued, and only this call knows the id."""
    try:
        yield
    except BaseException as error:
        name_batch(error, batch, enqueued)
        raise


class LineRefused(Exception):
    """A line is refused here and not sent."""

    def __init__(self, line: LineError) -> None:
        self.line = line
        super().__init__(line)
