"""Read the input of `boomerang enqueue`: NDJSON, JSON, CSV or prompts. Files are streamed, whatever their size."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from boomerang_client.cli.columns import Columns, Report, Row, read_table, with_defaults
from boomerang_client.cli.damaged_text import damage_of
from boomerang_client.cli.encodings import not_decodable
from boomerang_client.cli.json_values import JsonValues
from boomerang_client.errors import LineError, UsageError
from boomerang_client.ndjson import LARGEST, Numbered, number_lines, parse_request, utf8_lines

DELIMITERS = ",;\t|"
#: Lines that a heading may take. More of them lack a quotation mark.
_MOST_HEADING_LINES = 1_000
_UTF8 = "utf-8-sig"
# A quotation mark opens a cell only where the cell begins.
_QUOTED = re.compile(rf'(?:^|(?<=[{DELIMITERS}]))"(?:[^"]|"")*"', re.MULTILINE)
_OPEN = re.compile(rf'(?:^|[{DELIMITERS}])"', re.MULTILINE)


def read_ndjson(file: BinaryIO, defaults: Mapping[str, Any], encoding: str = _UTF8) -> Iterator[Numbered]:
    """Yield the lines of NDJSON. A line gets the `defaults` for members that it does not have."""
    for number, line in number_lines(utf8_lines(file, None if encoding == _UTF8 else encoding)):
        request = parse_request(line) if defaults and isinstance(line, bytes) else None
        yield Numbered(number, line if request is None else with_defaults(defaults, request))


def read_json(file: BinaryIO, defaults: Mapping[str, Any], encoding: str = _UTF8) -> Iterator[Numbered]:
    """Yield the values of a JSON array, or of a file of JSON objects. Raises UsageError for invalid JSON."""
    with _decoded(file, encoding) as text:
        for number, (value, given) in enumerate(JsonValues(text), start=1):
            # A line break between the tokens of a value is white space. JSON strings have none.
            line = given.replace("\n", " ").replace("\r", " ").encode(errors="surrogatepass")
            request = parse_request(line) if isinstance(value, dict) else None
            # What is no request is sent as it is: the service explains what it should be.
            yield Numbered(number, line if request is None else with_defaults(defaults, request))


def read_prompts(file: BinaryIO, defaults: Mapping[str, Any], encoding: str = _UTF8) -> Iterator[Numbered]:
    """Yield a request for each line of a text that is not empty: the line is the prompt."""
    with _decoded(file, encoding, newline=None) as text:
        for number, line in enumerate(_lines(text), start=1):
            prompt = line.replace("\x1a", "").strip()  # Ctrl-Z ended a text in DOS
            damage = damage_of(prompt)
            if damage:
                yield Numbered(number, LineError(number, {"prompt": (damage,)}))
            elif prompt:
                yield Numbered(number, {**defaults, "prompt": prompt})


def read_csv(
    file: BinaryIO,
    columns: Columns,
    defaults: Mapping[str, Any],
    *,
    encoding: str = _UTF8,
    delimiter: str | None = None,
    report: Report = lambda _: None,
) -> Iterator[Numbered]:
    """Yield the requests of a table, numbered as in spreadsheets: the heading is row 1.

    `report` is as in `read_table`. Raises UsageError for a table that cannot be read.
    """
    return read_table(_csv_rows(file, encoding, delimiter), columns, defaults, report)


def _csv_rows(file: BinaryIO, encoding: str, delimiter: str | None) -> Iterator[Row]:
    csv.field_size_limit(LARGEST)
    number = 0
    try:
        with io.TextIOWrapper(file, encoding, newline="") as text:
            lines, stated = _heading(text)
            separator = delimiter or stated or _delimiter(lines)
            reader = csv.reader(chain(lines, _lines(text)), delimiter=separator, strict=True)
            before = 0
            for number, cells in enumerate(reader, start=1):
                yield Row(number, cells, reader.line_num - before)
                before = reader.line_num
    except UnicodeDecodeError as error:
        raise not_decodable(error, encoding, f"After row {number}") from error
    except csv.Error as error:
        raise UsageError(
            f"After row {number}: {error}. Check the quotation marks and the delimiter (--delimiter ';')."
        ) from error


def _heading(text: io.TextIOWrapper) -> tuple[list[str], str | None]:
    """Return the lines up to the end of the heading, and the delimiter that the file states.

    A heading may have line breaks in quotation marks. Excel writes and reads a first line "sep=;" before it.
    """
    lines: list[str] = []
    stated = None
    for line in _lines(text):
        if not lines and stated is None and line.lower().startswith("sep=") and len(line.strip("\r\n")) == len("sep=;"):
            stated = line[4]
            continue
        lines.append(line)
        if len(lines) == _MOST_HEADING_LINES or ("".join(lines).strip() and not _OPEN.search(_unquoted(lines))):
            break
    return lines, stated


def _delimiter(lines: list[str]) -> str:
    return max(DELIMITERS, key=_unquoted(lines).count)


def _unquoted(lines: list[str]) -> str:
    """Return lines without their cells in quotation marks."""
    return _QUOTED.sub("", "".join(lines))


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a text. Raises UsageError for one that would fill the memory."""
    for line in iter(partial(text.readline, LARGEST), ""):
        if len(line) == LARGEST:
            raise UsageError(f"A line is longer than {LARGEST:,} characters. Is this the right file?")
        yield line


@contextmanager
def _decoded(file: BinaryIO, encoding: str, newline: str | None = "") -> Iterator[io.TextIOWrapper]:
    """Yield the file as text. Raises UsageError where it is not in this encoding."""
    try:
        with io.TextIOWrapper(file, encoding, newline=newline) as text:
            yield text
    except UnicodeDecodeError as error:
        raise not_decodable(error, encoding, "The file") from error
