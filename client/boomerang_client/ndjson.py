"""The lines of a batch: read from where they come, numbered, and made JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from boomerang_client.errors import UsageError

Line: TypeAlias = Mapping[str, Any] | bytes


class Numbered(NamedTuple):
    """A line with the number under which its author knows it, from 1 and rising; others are counted."""

    number: int
    line: Line


Lines: TypeAlias = Iterable[Line | Numbered] | Path | BinaryIO


@contextmanager
def opened(lines: Lines) -> Iterator[Iterator[Numbered]]:
    """The numbered lines of a batch; a Path is opened for as long. Raises UsageError for text."""
    if isinstance(lines, Path):
        try:
            file = lines.open("rb")
        except OSError as error:
            raise UsageError(f"{lines} cannot be read: {error.strerror}.") from error
        with file:
            yield _numbered(file)
        return
    if hasattr(lines, "read") and not isinstance(lines.read(0), bytes):
        raise UsageError('Open the file in binary mode ("rb").')
    yield _numbered(lines)


def _numbered(lines: "Iterable[Line | Numbered] | BinaryIO") -> Iterator[Numbered]:
    for number, line in enumerate(lines, start=1):
        yield line if isinstance(line, Numbered) else Numbered(number, line)


def parsed(line: Line) -> Mapping[str, Any] | None:
    """The request of a line; None where it is no JSON object, which the service can say better."""
    if not isinstance(line, bytes):
        return line
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def encode(request: Mapping[str, Any], what: str = "The request") -> bytes:
    """A request as JSON in UTF-8, on one line; raises UsageError for what JSON cannot hold."""
    if not isinstance(request, Mapping):
        raise UsageError(f"{what} is {type(request).__name__}; give a mapping, or JSON as bytes.")
    try:
        return json.dumps(dict(request), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} cannot be written as JSON: {error}. Use text, numbers, lists and objects.") from error
