"""Drafts from texts: NDJSON, CSV, and one prompt a line."""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from webhook.drafts.columns import MEMBERS, OBJECTS, PREFIXES, one_line
from webhook.drafts.draft import LARGER, MOST_COLUMNS, MOST_LINES, Cell, Draft
from webhook.drafts.errors import FileRefused

DELIMITERS = ",;\t|"
#: Lines that a heading may take. More of them lack a quotation mark.
_MOST_HEADING_LINES = 1_000
_SHOWN = 40
#: Characters. Those of a cell are below the limit of Python's csv module, which any code of a process may change.
_LONGEST_HEADING, _LONGEST_CELL = 4_096, 131_000
# A quotation mark opens a cell only where the cell begins.
_QUOTED = re.compile(rf'(?:^|(?<=[{DELIMITERS}]))"(?:[^"]|"")*"', re.MULTILINE)
_OPEN = re.compile(rf'(?:^|[{DELIMITERS}])"', re.MULTILINE)
_TABLES = (".csv", ".tsv", ".tab", ".xls", ".xlsx", ".xlsm")  # some programs name a CSV file .xls


def read_text(text: str, kind: str, name: str) -> Draft:
    """Return the draft of a text of this kind. Raises FileRefused."""
    return {"ndjson": _read_ndjson, "csv": _read_csv, "txt": _read_prompts}[kind](text, name)


def kind_of(text: str, name: str, *, pasted: bool) -> str:
    """Return the kind of a text by its beginning and by its name. Raises FileRefused if they leave it open."""
    label, extension = name or "The text", name[name.rfind(".") :].lower()
    begin = text[: 64 * 1024].lstrip()
    first = begin.partition("\n")[0].strip()
    if extension in _TABLES:
        return "csv"
    if begin.startswith("[") and extension != ".txt":
        raise FileRefused(f"{label} is a JSON array. Write one object a line (`jq -c '.[]'`), and no brackets around.")
    if begin.startswith("{"):
        if first == "{":
            raise FileRefused(f"{label} has a JSON object over several lines. Write each on one line (`jq -c .`).")
        return "ndjson"
    if _is_heading(first):
        if extension == ".txt":
            raise FileRefused(
                f'{label} begins like a table ("{first[:_SHOWN]}"). Choose its format: CSV if it is one, prompts if '
                "each line is a prompt."
            )
        return "csv"
    if pasted or extension == ".txt" or not begin:
        return "txt"
    raise FileRefused(f'{label} begins with "{first[:_SHOWN]}". Choose its format: NDJSON, CSV or prompts.')


def _is_heading(line: str) -> bool:
    cells = {
        cell.strip().strip('"')
        for delimiter in DELIMITERS
        for cell in line[:_LONGEST_HEADING].casefold().split(delimiter)
    }
    named = [cell for cell in cells if cell in (*MEMBERS, *OBJECTS) or cell.startswith(PREFIXES)]
    return bool(named) or "\t" in line


def _read_ndjson(text: str, name: str) -> Draft:
    lines = (
        (number, (line.removeprefix("\ufeff"),))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    )
    return Draft("ndjson", name, (), _bounded(lines, name))


def _read_prompts(text: str, name: str) -> Draft:
    # Ctrl-Z ended a text in DOS. Only line ends divide: a prompt may have other separators of Unicode.
    texts = (line.replace("\x1a", "").strip() for line in io.StringIO(text, newline=None))
    return Draft("txt", name, (), _bounded(((number, (line,)) for number, line in enumerate(texts, 1) if line), name))


def _read_csv(text: str, name: str) -> Draft:
    source = io.StringIO(text, newline="")
    lines, stated = _heading(source)
    reader = csv.reader(_chain(lines, source), delimiter=stated or _delimiter(lines), strict=True)
    return table("csv", name, _rows(reader, name or "The text"))


def table(kind: str, name: str, rows: Iterator[tuple[int, list[Cell]]], notes: tuple[str, ...] = ()) -> Draft:
    """Return the draft of a table, whose first row that is not empty is the heading. Raises FileRefused."""
    label = name or "The text"
    filled = ((number, cells) for number, cells in rows if any(cell is None or cell.strip() for cell in cells))
    _, heading = next(filled, (0, list[Cell]()))
    header = [one_line(cell or "") for cell in heading]
    while len(header) > MOST_COLUMNS and not header[-1]:
        header.pop()
    if not any(header):
        raise FileRefused(f"{label} is empty. Its first row should have the names of the columns.")
    if len(header) > MOST_COLUMNS:
        raise FileRefused(
            f"{label} has {len(header):,} columns, more than {MOST_COLUMNS}. Leave out what is not needed."
        )
    # Cells beyond the heading refuse their row later, whatever their number.
    lines = _bounded(((number, tuple(cells[: len(header) + 1])) for number, cells in filled), name)
    return Draft(kind, name, tuple(header), lines, notes)


def _rows(reader: Any, label: str) -> Iterator[tuple[int, list[Cell]]]:
    number = before = columns = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if len(max(cells, key=len, default="")) > _LONGEST_CELL:
                raise _too_long(label, number)
            columns = columns or (len(cells) if any(cell.strip() for cell in cells) else 0)
            if reader.line_num - before > 1 and any(cell.strip() for cell in cells[columns:]):
                # Correcting a quotation mark would give the rows after it other numbers, and so other jobs.
                raise FileRefused(
                    f"{label}, row {number:,}, has more cells than the heading, and takes several lines: is a "
                    "quotation mark missing?"
                )
            before = reader.line_num
            yield number, list(cells)
    except csv.Error as error:
        if "field limit" in str(error):
            raise _too_long(label, number + 1) from error
        raise FileRefused(
            f"{label}, after row {number:,}: {error}. Check the quotation marks and the delimiter."
        ) from error


def _too_long(label: str, number: int) -> FileRefused:
    return FileRefused(f"{label}, row {number:,}, has more than {_LONGEST_CELL:,} characters in a cell. Shorten it.")


def _bounded(lines: Iterator[tuple[int, tuple[Cell, ...]]], name: str) -> tuple[tuple[int, tuple[Cell, ...]], ...]:
    found = tuple(islice(lines, MOST_LINES + 1))
    if len(found) > MOST_LINES:
        raise FileRefused(f"{name or 'The text'} has more than {MOST_LINES:,} lines. {LARGER}")
    return found


def _heading(source: io.StringIO) -> tuple[list[str], str | None]:
    """Return the lines up to the end of the heading, and the delimiter that the file states ("sep=;", of Excel)."""
    lines: list[str] = []
    stated = None
    for line in source:
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


def _chain(lines: list[str], source: io.StringIO) -> Iterator[str]:
    yield from lines
    yield from source
