"""Read the input of `boomerang enqueue`: NDJSON, JSON or CSV. Files are streamed, whatever their size."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, BinaryIO

from boomerang_client.cli.options import seconds_of
from boomerang_client.errors import UsageError
from boomerang_client.image_uploads import IMAGE_LISTS, IMAGE_MEMBERS
from boomerang_client.ndjson import Numbered, parse_request

#: Members of a request that need no --map when a column has the same name.
MEMBERS = (
    "model", "prompt", "n", "aspect_ratio", "resolution", "external_task_id", "callback_url", "priority", "expires_in",
    *IMAGE_LISTS, *IMAGE_MEMBERS,
)  # fmt: skip
#: Separates several images in one cell.
SEPARATOR = "|"
DELIMITERS = ",;\t|"
#: Maximum characters of one JSON value. Requests must be smaller.
LARGEST = 64 * 1024 * 1024
_CHUNK = 64 * 1024
_SPACE = re.compile(r"[\s,]*")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Columns:
    """How a row becomes a request.

    `mapped`: member → its columns. `templates`: member → text with `{column}` in it.
    """

    mapped: Mapping[str, list[str]] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)


def read_ndjson(file: BinaryIO, defaults: Mapping[str, Any]) -> Iterator[Numbered]:
    """Yield the lines of NDJSON. A line gets the `defaults` for members that it does not have."""
    for number, line in enumerate(file, start=1):
        request = parse_request(line) if defaults else None
        yield Numbered(number, line if request is None else {**defaults, **request})


def read_json(file: BinaryIO, defaults: Mapping[str, Any]) -> Iterator[Numbered]:
    """Yield the values of a JSON array, or of a file of JSON objects. Raises UsageError for invalid JSON."""
    with io.TextIOWrapper(file, "utf-8-sig") as text:
        for number, value in enumerate(_JsonValues(text), start=1):
            if isinstance(value, dict):
                yield Numbered(number, {**defaults, **value})
            else:
                yield Numbered(number, json.dumps(value).encode())  # the service explains what it should be


def read_csv(
    file: BinaryIO,
    columns: Columns,
    defaults: Mapping[str, Any],
    *,
    encoding: str = "utf-8-sig",
    delimiter: str | None = None,
    unused: Callable[[list[str]], None] = lambda _: None,
) -> Iterator[Numbered]:
    """Yield the rows of a table, numbered as in spreadsheets: the heading is row 1.

    `unused` is called with the names of the columns that are not used. Raises UsageError for a table that cannot be
    read.
    """
    csv.field_size_limit(LARGEST)
    number = 1
    try:
        with io.TextIOWrapper(file, encoding, newline="") as text:
            first = text.readline()
            separator = delimiter or _delimiter(first)
            header = next(csv.reader([first], delimiter=separator), [])
            plan = _plan([name.strip() for name in header], columns)
            unused(plan.unused)
            for number, cells in enumerate(csv.reader(text, delimiter=separator, strict=True), start=2):
                if any(cell.strip() for cell in cells):
                    yield Numbered(number, {**defaults, **plan.request(number, cells)})
    except UnicodeDecodeError as error:
        raise UsageError(
            f"After row {number}: this is not {encoding}. Name the encoding: --encoding cp1252."
        ) from error
    except csv.Error as error:
        raise UsageError(f"After row {number}: {error}. Is the delimiter right? Name it: --delimiter ';'.") from error


def assign(request: dict[str, Any], member: str, text: str) -> None:
    """Set a member of a request from text: a number if the member is one, a list if it holds several images."""
    name, dot, inner = member.partition(".")
    if dot:
        request.setdefault(name, {})[inner] = _typed(member, text)
    elif name in IMAGE_LISTS:
        images = [each.strip() for each in text.split(SEPARATOR) if each.strip()]
        request.setdefault(name, []).extend({IMAGE_LISTS[name]: each} for each in images)
    else:
        request[name] = _typed(name, text)


def _typed(member: str, text: str) -> Any:
    # Invalid numbers stay text: the service names the member and what it should be.
    if member == "n":
        return int(text) if text.strip().isdecimal() else text
    if member == "expires_in":
        return text if (seconds := seconds_of(text)) is None else math.ceil(seconds)
    if member == "watermark_info.enabled":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower(), text)
    return text


@dataclass(frozen=True)
class _Plan:
    header: list[str]
    places: list[tuple[str, int]]
    templates: Mapping[str, str]
    unused: list[str]

    def request(self, number: int, cells: list[str]) -> dict[str, Any]:
        if any(cell.strip() for cell in cells[len(self.header) :]):
            raise UsageError(
                f"Row {number} has more cells than the heading. Put quotes around cells that contain the delimiter."
            )
        request: dict[str, Any] = {}
        for member, place in self.places:
            if place < len(cells) and cells[place].strip():
                assign(request, member, cells[place])
        named = dict(zip(self.header, cells, strict=False))
        for member, template in self.templates.items():
            assign(request, member, _PLACEHOLDER.sub(lambda found: named.get(found[1], "").strip(), template))
        return request


def _plan(header: list[str], columns: Columns) -> _Plan:
    wanted = [(member, name) for member, names in columns.mapped.items() for name in names]
    taken = {*columns.mapped, *columns.templates}
    members = [name for name in header if name in MEMBERS or name.startswith(("labels.", "watermark_info."))]
    wanted += [(name, name) for name in members if name not in taken]
    used = {name for template in columns.templates.values() for name in _PLACEHOLDER.findall(template)}
    for name in [*(name for _, name in wanted), *sorted(used)]:
        if name not in header:
            near = get_close_matches(name, header, 1)
            guess = f'Did you mean "{near[0]}"?' if near else f"The columns are: {', '.join(header) or 'none'}."
            raise UsageError(f'There is no column "{name}". {guess}')
    if not wanted and not used:
        raise UsageError(f"No column is used. The columns are: {', '.join(header)}. Choose one: --map prompt=COLUMN.")
    used |= {name for _, name in wanted}
    unused = [name for name in header if name not in used]
    return _Plan(header, [(member, header.index(name)) for member, name in wanted], columns.templates, unused)


def _delimiter(header: str) -> str:
    return max(DELIMITERS, key=header.count)


class _JsonValues:
    """Iterates over the values of a JSON array, or of a file with one value after another. Reads in chunks."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._decode = text, json.JSONDecoder().raw_decode
        self._buffer, self._at, self._line, self._ended = "", 0, 1, False

    def __iter__(self) -> Iterator[Any]:
        in_array = self._next() == "["
        self._at += in_array
        while first := self._next():
            if in_array and first == "]":
                return
            yield self._value()
        if in_array:
            raise UsageError("The JSON array has no end: the file is incomplete.")

    def _next(self) -> str:
        """Skip white space and return the first character of the next value, or "" at the end."""
        while True:
            found = _SPACE.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]
            self._fill()

    def _value(self) -> Any:
        while True:
            try:
                value, self._at = self._decode(self._buffer, self._at)
            except (ValueError, RecursionError) as error:  # noqa: PERF203 -- only when more must be read
                if self._ended or len(self._buffer) - self._at > LARGEST:
                    line = self._line + self._buffer.count("\n", 0, getattr(error, "pos", self._at))
                    raise UsageError(f"The file is not JSON from line {line} on ({error}).") from error
                self._fill()
            else:
                return value

    def _fill(self) -> None:
        self._line += self._buffer.count("\n", 0, self._at)
        rest = self._buffer[self._at :]
        try:
            more = self._text.read(max(_CHUNK, len(rest)))  # doubled, so that a long value is not parsed too often
        except UnicodeDecodeError as error:
            raise UsageError("The file is not UTF-8, as JSON must be. Convert it.") from error
        self._buffer, self._at, self._ended = rest + more, 0, not more
