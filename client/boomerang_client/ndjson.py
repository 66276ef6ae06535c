"""Read the lines of a batch from any source, number them, and encode them as JSON."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

from boomerang_client.errors import LineError, UsageError
from boomerang_client.unpacking import unpack

Line: TypeAlias = Mapping[str, Any] | bytes

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Maximum size of one request, in bytes or characters. The service takes smaller ones.
LARGEST = 64 * 1024 * 1024


class Numbered(NamedTuple):
    """A line with the number that its author knows it by.

    Numbers start at 1 and rise. Lines that come without a number are counted. A LineError stands for a line that was
    refused while it was read.
    """

    number: int
    line: Line | LineError


Lines: TypeAlias = Iterable[Line | Numbered] | Path | BinaryIO


class NotEncodable(UsageError):
    """A request has a value that JSON cannot hold: not a number, half of a surrogate pair, too many levels.

    `errors` maps field paths to messages.
    """

    def __init__(self, what: str, cause: Exception) -> None:
        self.errors = {"request": (f"cannot be written as JSON: {cause}. Use text, numbers, lists and objects.",)}
        super().__init__(f"{what} {self.errors['request'][0]}")


@contextmanager
def open_lines(lines: Lines) -> Iterator[Iterator[Numbered]]:
    """Yield the numbered lines of a batch. Raises what `open_file` raises."""
    if isinstance(lines, Path) or hasattr(lines, "read"):
        with open_file(cast("Path | BinaryIO", lines)) as numbered:
            yield numbered
    else:
        yield number_lines(lines)


@contextmanager
def open_file(lines: Path | BinaryIO) -> Iterator[Iterator[Numbered]]:
    """Yield the numbered lines of a file. Opens a Path, and closes it at the end. Decompresses gzip.

    Raises UsageError for a file that cannot be read, was opened as text, or is a document of another kind.
    """
    if isinstance(lines, Path):
        try:
            file = lines.open("rb")
        except OSError as error:
            raise UsageError(f"{lines} cannot be read: {error.strerror}. Check its name and rights.") from error
        with file:
            yield number_lines(utf8_lines(*unpack(file, str(lines))))
        return
    if not isinstance(lines.read(0), bytes):
        raise UsageError('The file is open as text. Open it in binary mode ("rb").')
    yield number_lines(utf8_lines(*unpack(lines)))


def utf8_lines(file: BinaryIO, encoding: str | None = None) -> Iterator[bytes]:
    """Yield the lines of a file as UTF-8. `encoding` is the file's; None passes bytes as they are.

    Raises UsageError for a line that is too long to be a request, and for text in another encoding.
    """
    if encoding is not None:
        try:
            with io.TextIOWrapper(file, encoding) as text:
                for decoded in iter(partial(text.readline, LARGEST), ""):
                    yield decoded.encode()
        except UnicodeError as error:
            raise UsageError(f"The file is not {encoding} ({error}). Save it as UTF-8.") from error
        return
    for line in iter(partial(file.readline, LARGEST + 1), b""):
        if len(line) > LARGEST:
            raise UsageError(f"A line is longer than {LARGEST:,} bytes. Write one request a line.")
        yield line


def number_lines(lines: "Iterable[Line | Numbered]", first: int = 1) -> Iterator[Numbered]:
    """Count lines that have no number, from `first`. Removes byte order marks.

    Windows programs begin files with them. A file that was put together from several has more than one.
    """
    for number, line in enumerate(lines, start=first):
        if isinstance(line, Numbered):
            yield line
        elif isinstance(line, bytes):
            yield Numbered(number, line.removeprefix(BYTE_ORDER_MARK))
        else:
            yield Numbered(number, line)


def parse_request(line: Line) -> Mapping[str, Any] | None:
    """Return the request in a line, or None when the line is not a JSON object that the service accepts.

    None is no error here: the line is sent as it is, and the service explains what is wrong with it. So this parser is
    as strict as the service's: a key given twice, NaN and half of a surrogate pair must not be lost or changed.
    """
    if not isinstance(line, bytes):
        return line
    try:
        text = line.decode()
        request = _decoder.decode(text)
        if "\\ud" in text.lower():
            json.dumps(request, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def encode(request: Mapping[str, Any], what: str = "The request") -> bytes:
    """Encode a request as one line of UTF-8 JSON.

    Raises UsageError for values of other types than JSON has, and NotEncodable for values that JSON cannot hold.
    """
    if not isinstance(request, Mapping):
        raise UsageError(f"{what} is {type(request).__name__}. Pass a mapping, or JSON as bytes.")
    try:
        return json.dumps(dict(request), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except TypeError as error:
        raise UsageError(f"{what} cannot be written as JSON: {error}. Use text, numbers, lists and objects.") from error
    except (ValueError, RecursionError) as error:
        raise NotEncodable(what, error) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)
