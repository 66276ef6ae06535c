"""Read the lines of a batch from any source, number them, and encode them as JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from boomerang_client.errors import UsageError

Line: TypeAlias = Mapping[str, Any] | bytes


class Numbered(NamedTuple):
    """A line with the number that its author knows it by.

    Numbers start at 1 and rise. Lines that come without a number are counted.
    """

    number: int
    line: Line


Lines: TypeAlias = Iterable[Line | Numbered] | Path | BinaryIO


@contextmanager
def open_lines(lines: Lines) -> Iterator[Iterator[Numbered]]:
    """Yield the numbered lines of a batch. Opens a Path, and closes it at the end.

    Raises UsageError for a file that cannot be read or was opened as text.
    """
    if isinstance(lines, Path):
        try:
            file = lines.open("rb")
        except OSError as error:
            raise UsageError(f"{lines} cannot be read: {error.strerror}. Check its name and rights.") from error
        with file:
            yield _number(file)
        return
    if hasattr(lines, "read") and not isinstance(lines.read(0), bytes):
        raise UsageError('The file is open as text. Open it in binary mode ("rb").')
    yield _number(lines)


def _number(lines: "Iterable[Line | Numbered] | BinaryIO") -> Iterator[Numbered]:
    for number, line in enumerate(lines, start=1):
        yield line if isinstance(line, Numbered) else Numbered(number, line)


def parse_request(line: Line) -> Mapping[str, Any] | None:
    """Return the request in a line, or None when the line is not a JSON object.

    None is no error here: the line is sent as it is, and the service explains what is wrong with it.
    """
    if not isinstance(line, bytes):
        return line
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def encode(request: Mapping[str, Any], what: str = "The request") -> bytes:
    """Encode a request as one line of UTF-8 JSON. Raises UsageError for values that JSON cannot hold."""
    if not isinstance(request, Mapping):
        raise UsageError(f"{what} is {type(request).__name__}. Pass a mapping, or JSON as bytes.")
    try:
        return json.dumps(dict(request), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} cannot be written as JSON: {error}. Use text, numbers, lists and objects.") from error
