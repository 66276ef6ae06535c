"""Open the file of `boomerang enqueue`: find its format by its content first, and by its name only then."""

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import click

from boomerang_client.cli.archives import open_archive, spooled
from boomerang_client.cli.columns import MEMBERS, OBJECTS, Columns, Report, read_table
from boomerang_client.cli.encodings import check_name, check_text
from boomerang_client.cli.inputs import DELIMITERS, read_csv, read_json, read_ndjson, read_prompts
from boomerang_client.errors import UsageError
from boomerang_client.file_kinds import ZIP, refuse_other_kinds, wide_encoding
from boomerang_client.ndjson import BYTE_ORDER_MARK, Numbered
from boomerang_client.unpacking import peel_gzip

#: Formats of a file, and the name of one request in it.
FORMATS = {"ndjson": "line", "json": "item", "csv": "row", "xlsx": "row", "txt": "line"}
TABLES = ("csv", "xlsx")
_UTF8 = "utf-8-sig"
_SHOWN = 40
_OBJECT_COLUMNS = tuple(f"{name}." for name in OBJECTS)
_UNUSABLE_DELIMITERS = '"\r\n\0'


@dataclass(frozen=True)
class Reading:
    """How a file shall be read. None: as the file says."""

    format: str | None = None
    columns: Columns = field(default_factory=Columns)
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None

    def check(self) -> None:
        """Raise UsageError for values that cannot work with any file."""
        if self.encoding is not None:
            check_name(self.encoding)
        delimiter = self.delimiter
        if delimiter is not None and (len(delimiter) != 1 or delimiter in _UNUSABLE_DELIMITERS):
            raise click.UsageError(f"The delimiter {delimiter!r} is not one character. Use one, such as ';'.")

    @property
    def is_table(self) -> bool:
        """Whether options are given that only tables have."""
        return bool(self.columns.mapped or self.columns.templates)


@dataclass(frozen=True)
class InputFile:
    """A file whose format is known. `content` is its text or, for "xlsx", the workbook."""

    content: BinaryIO
    format: str
    name: str
    reading: Reading
    encoding: str = _UTF8
    delimiter: str | None = None

    @property
    def unit(self) -> str:
        """The name of one request: "line", "item" or "row"."""
        return FORMATS[self.format]

    def requests(self, defaults: Mapping[str, Any], report: Report) -> Iterator[Numbered]:
        """Yield the requests, or the refusals of lines. `report` is called with warnings."""
        columns = self.reading.columns
        if self.format == "xlsx":
            # Loaded here, because openpyxl takes 0.3 s to load, and no other command needs it.
            workbook = import_module("boomerang_client.cli.workbook")
            rows = workbook.read_rows(self.content, self.name, self.reading.sheet, report)
            return read_table(rows, columns, defaults, report)
        if self.format == "csv":
            return read_csv(
                self.content, columns, defaults,
                encoding=self.encoding, delimiter=self.delimiter, report=report,
            )  # fmt: skip
        reader = {"ndjson": read_ndjson, "json": read_json, "txt": read_prompts}[self.format]
        return reader(self.content, defaults, self.encoding)


def open_input(file: BinaryIO, name: str, reading: Reading) -> InputFile:
    """Find out what a file is. `name` is "" for stdin.

    A text in a regular file is read once to its end, so that a damaged one is refused before anything is sent. Raises
    UsageError for files that cannot hold requests, and for options that do not fit.
    """
    reading.check()
    found = _recognise(file, name, reading)
    if found.format not in TABLES and reading.is_table:
        raise click.UsageError(f"--map and --template are for CSV and .xlsx, but the format is {found.format}.")
    if found.format != "xlsx" and reading.sheet is not None:
        raise click.UsageError(f"--sheet is for .xlsx, but the format is {found.format}. Leave it out.")
    if found.format == "xlsx" or not file.seekable():
        return found
    if found.format == "ndjson" and found.encoding == _UTF8:
        while found.content.read(1024 * 1024):  # lines in other encodings are refused one by one, by the service
            pass
    else:
        check_text(found.content, found.encoding, found.name)
    file.seek(0)
    return _recognise(file, name, reading)


def _recognise(file: BinaryIO, name: str, reading: Reading) -> InputFile:
    label = name or "The input"
    content, head = peel_gzip(file, name)
    plain_name = name.removesuffix(".gz")
    if head.startswith(ZIP):
        content, plain_name, is_workbook = open_archive(_seekable(file, content, label), label)
        if is_workbook:
            if reading.format not in (None, "xlsx"):
                raise UsageError(f"{label} is a workbook (.xlsx), not {reading.format}. Leave --format out.")
            return InputFile(content, "xlsx", label, reading)
        plain_name = plain_name.removesuffix(".gz")
        content, head = peel_gzip(content, label)
    refuse_other_kinds(head, name)
    wide = wide_encoding(head)
    encoding = _encoding(reading.encoding, wide, head, label)
    start = head.decode(encoding, "ignore").removeprefix("\ufeff")
    format_ = reading.format or ("csv" if reading.is_table else _format_of(plain_name, start, label))
    if format_ == "xlsx":
        raise UsageError(f"{label} is not a workbook (.xlsx). Leave --format out, or name its format.")
    return InputFile(content, format_, label, reading, encoding, reading.delimiter or _delimiter_of(plain_name, start))


def _seekable(file: BinaryIO, content: BinaryIO, name: str) -> BinaryIO:
    """Return an archive as a file to search in: the file itself if it can be, or a copy of its content."""
    if file.seekable():
        file.seek(0)
        if file.read(len(ZIP)) == ZIP:
            return file
        file.seek(0)
        content, _ = peel_gzip(file, name)
    return spooled(content, name)


def _encoding(given: str | None, wide: str | None, head: bytes, name: str) -> str:
    if given is None:
        return wide or _UTF8
    marked = wide or (_UTF8 if head.startswith(BYTE_ORDER_MARK) else None)
    family = codecs.lookup(given).name
    if marked and not family.startswith(marked[:5]):
        raise UsageError(f"{name} is {marked.removesuffix('-sig')}, not {given}. Leave --encoding out.")
    return marked or (_UTF8 if family == "utf-8" else given)


def _format_of(name: str, start: str, label: str) -> str:
    """Return the format of a text by its beginning and by its name."""
    extension = Path(name).suffix.lower()
    begin = start.lstrip()
    if extension in (".csv", ".tsv", ".tab", ".xls", ".xlsx", ".xlsm"):  # some programs name a CSV file .xls
        return "csv"
    if extension == ".json":
        return "json"
    first = begin.partition("\n")[0].strip()
    if extension == ".txt" and not begin.startswith(("{", "[{", "[\n", "[\r")):
        if _is_heading(first):
            raise UsageError(
                f'{label} begins like a table ("{first[:_SHOWN]}"). If it is one, add --format csv. If each line is a '
                "prompt, the first one too, add --format txt."
            )
        return "txt"
    if begin.startswith("[") or first == "{":
        return "json"
    if begin and not begin.startswith("{"):
        raise UsageError(
            f'{label} is not JSON: it begins with "{first[:_SHOWN]}". For a table add --format csv; for one prompt a '
            "line add --format txt."
        )
    return "ndjson"


def _delimiter_of(name: str, start: str) -> str | None:
    """Return a tab for files that are named so, unless the heading has other delimiters only."""
    if Path(name).suffix.lower() not in (".tsv", ".tab"):
        return None
    heading = start.partition("\n")[0]
    return "\t" if "\t" in heading or not any(one in heading for one in DELIMITERS) else None


def _is_heading(line: str) -> bool:
    if "\t" in line:
        return True
    return any(
        cell.strip().strip('"') in (*MEMBERS, *OBJECTS)
        or cell.strip().startswith(tuple(f"{name}." for name in OBJECTS))
        for delimiter in DELIMITERS
        for cell in line.casefold().split(delimiter)
    )
