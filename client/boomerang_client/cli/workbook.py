"""Read the rows of a workbook (.xlsx). Loaded only when one is read, because openpyxl takes a while to load."""

import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

from openpyxl import load_workbook
from openpyxl.utils.cell import range_boundaries
from openpyxl.utils.exceptions import InvalidFileException

from boomerang_client.cli.cell_text import cell_text
from boomerang_client.cli.columns import Report, Row
from boomerang_client.cli.damaged_text import FORMULA_WITHOUT_VALUE
from boomerang_client.errors import UsageError

#: Maximum bytes that a workbook may have when it is unpacked, all together and without its sheets. The rest of a
#: workbook is kept in memory, and a damaged or malicious one can unpack to a thousand times its size.
MOST_BYTES, MOST_BYTES_IN_MEMORY = 2 * 1024**3, 256 * 1024**2
#: The last row that a sheet can have.
LAST_ROW = 1_048_576
_CHUNK_ROWS, _CHUNK_BYTES = 500, 1024 * 1024
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_HIDDEN = re.compile(rb'<(?:\w+:)?row\s[^>]*?hidden="(?:1|true)"')
#: What openpyxl raises for workbooks that are damaged, or that use parts of the format that it does not know. XML that
#: is not well-formed is a SyntaxError, in lxml too.
_UNREADABLE = (
    InvalidFileException, BadZipFile, SyntaxError, zlib.error, KeyError, ValueError, TypeError, AttributeError,
    IndexError, EOFError, OSError, NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip


def read_rows(file: BinaryIO, name: str, sheet: str | None, report: Report) -> Iterator[Row]:
    """Yield the rows of a sheet, numbered as there.

    Values are those that the file has for formulas. A cell that is merged over several rows counts for each of them.
    Without `sheet` the only visible sheet with content is read. `report` is called with warnings. Raises UsageError for
    a workbook that cannot be read, that is too large, or whose sheet must be chosen.
    """
    try:
        yield from _rows(file, name, sheet, report)
    except UsageError:
        raise
    except _UNREADABLE as error:
        raise UsageError(
            f"{name} is a workbook that cannot be read ({type(error).__name__}: {error}). Open it in a spreadsheet "
            "program and save it as .xlsx again, or as .csv (UTF-8)."
        ) from error


def _rows(file: BinaryIO, name: str, sheet: str | None, report: Report) -> Iterator[Row]:
    _check_size(file, name)
    values = _load(file, data_only=True)
    chosen = _choose(values, name, sheet)
    facts = _scan(file, chosen._worksheet_path)  # noqa: SLF001 -- openpyxl does not say where a sheet is
    if facts.hidden:
        report(f"Warning: {facts.hidden:,} hidden rows of the sheet {chosen.title} are read too.")
    formulas = _cells(_sheet(_load(file, data_only=False), chosen.title)) if facts.has_formulas else iter(())
    merged = _MergedCells(facts.merged)
    for number, (cells, others) in enumerate(zip_longest(_cells(chosen), formulas, fillvalue=()), start=1):
        if number > LAST_ROW:
            raise UsageError(f"{name} has more than {LAST_ROW:,} rows. Save it as .csv (UTF-8).")
        yield Row(number, merged.fill(number, [_text(*pair) for pair in zip_longest(cells, others)]))


def _check_size(file: BinaryIO, name: str) -> None:
    with ZipFile(file) as archive:
        sizes = [(each.filename, each.file_size) for each in archive.infolist()]
    in_memory = sum(size for path, size in sizes if "worksheets/" not in path and "media/" not in path)
    if sum(size for _, size in sizes) > MOST_BYTES or in_memory > MOST_BYTES_IN_MEMORY:
        raise UsageError(
            f"{name} unpacks to {sum(size for _, size in sizes):,} bytes, which is too much. Save it as .csv (UTF-8)."
        )


def _load(file: BinaryIO, *, data_only: bool) -> Any:
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about colours, validation rules and the like
        return load_workbook(file, read_only=True, data_only=data_only, keep_links=False)


def _sheet(workbook: Any, title: str) -> Any:
    return next(each for each in workbook.worksheets if each.title == title)


def _choose(workbook: Any, name: str, wanted: str | None) -> Any:
    sheets = workbook.worksheets
    if wanted is not None:
        found = [each for each in sheets if each.title == wanted] or [
            each for each in sheets if each.title.strip().casefold() == wanted.strip().casefold()
        ]
        if not found:
            titles = ", ".join(each.title for each in sheets) or "none"
            raise UsageError(f'{name} has no sheet "{wanted}". Its sheets are: {titles}.')
        return found[0]
    visible = [each for each in sheets if each.sheet_state == "visible"]
    if len(visible) > 1:
        visible = [each for each in visible if _has_content(each)] or visible[:1]
    if len(visible) > 1:
        titles = ", ".join(each.title for each in visible)
        raise UsageError(f"{name} has several sheets: {titles}. Choose one: --sheet {_quoted(visible[0].title)}.")
    if not visible:
        raise UsageError(f"{name} has no visible sheet. Choose a hidden one with --sheet, or show one.")
    return visible[0]


def _quoted(title: str) -> str:
    return title if title.isalnum() else f"'{title}'"


def _has_content(sheet: Any) -> bool:
    return any(cell.value is not None for row in _cells(sheet) for cell in row)


def _cells(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of each row."""
    sheet.reset_dimensions()  # some programs write wrong ones, and openpyxl would cut the sheet there
    rows = sheet.iter_rows()
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chunk = list(islice(rows, _CHUNK_ROWS))
        if not chunk:
            return
        yield from chunk


def _text(cell: Any, formula: Any) -> str:
    if cell is None:
        return ""
    if cell.value is None and formula is not None and formula.data_type == "f" and cell.data_type != "str":
        return FORMULA_WITHOUT_VALUE
    return cell_text(cell.value, cell.number_format if isinstance(cell.value, int | float) else None)


@dataclass
class _Facts:
    """What must be known of a sheet before its first row. `merged`: ranges as in "A2:A4"."""

    has_formulas: bool = False
    hidden: int = 0
    merged: list[str] = field(default_factory=list)


def _scan(file: BinaryIO, path: str) -> _Facts:
    """Search a sheet's XML for what openpyxl does not tell in read-only mode."""
    facts = _Facts()
    file.seek(0)
    with ZipFile(file) as archive, archive.open(path.lstrip("/")) as sheet:
        rest = b""
        while more := sheet.read(_CHUNK_BYTES):
            data, bracket, rest = (rest + more).rpartition(b">")
            data += bracket
            facts.has_formulas = facts.has_formulas or _FORMULA.search(data) is not None
            facts.hidden += len(_HIDDEN.findall(data))
            facts.merged += [each.decode() for each in _MERGED.findall(data)]
            rest = rest[-_CHUNK_BYTES:]
    return facts


class _MergedCells:
    """Repeats the value of a cell that is merged over several rows in each of them. Rows come in order."""

    def __init__(self, ranges: list[str]) -> None:
        bounds = [range_boundaries(each) for each in ranges]
        self._starting = sorted((top, left, bottom) for left, top, _, bottom in bounds if bottom > top)[::-1]
        self._open: list[tuple[int, int, str]] = []  # column, last row, value

    def fill(self, number: int, cells: list[str]) -> list[str]:
        """Return the cells of this row, with the values of merged cells that began above."""
        self._open = [each for each in self._open if each[1] >= number]
        is_empty = not any(cell.strip() for cell in cells)
        for column, _, value in () if is_empty else self._open:
            cells += [""] * (column + 1 - len(cells))
            cells[column] = value
        while self._starting and self._starting[-1][0] <= number:
            _, left, bottom = self._starting.pop()
            if left <= len(cells) and cells[left - 1]:
                self._open.append((left - 1, bottom, cells[left - 1]))
        return cells
