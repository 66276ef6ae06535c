"""Drafts from workbooks (.xlsx). Limits keep a small file from filling the memory, or a thread's time."""

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any
from zipfile import BadZipFile, ZipFile

from openpyxl import load_workbook
from openpyxl.utils.cell import range_boundaries
from openpyxl.utils.exceptions import InvalidFileException

from webhook.drafts.cell_text import cell_text
from webhook.drafts.draft import LARGER, MOST_LINES, Cell, Draft
from webhook.drafts.errors import FileRefused
from webhook.drafts.texts import table

#: Bytes of what a workbook unpacks to, without its pictures, which are not read.
MOST_UNPACKED = 64 * 1024 * 1024
#: Rows and cells that are read, empty ones too.
_MOST_ROWS, _MOST_CELLS = 3 * MOST_LINES, 2_000_000
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_HIDDEN = re.compile(rb'<(?:\w+:)?row\s[^>]*?hidden="(?:1|true)"')
_MOST_MERGED = 20_000
#: What openpyxl raises for workbooks that are damaged, or that use parts of the format that it does not know.
_UNREADABLE = (
    InvalidFileException, BadZipFile, SyntaxError, zlib.error, KeyError, ValueError, TypeError, AttributeError,
    IndexError, EOFError, OSError, NotImplementedError, RuntimeError, OverflowError,
)  # fmt: skip


def is_workbook(data: bytes) -> bool:
    """Return whether a zip archive is a workbook. Raises FileRefused for one that is damaged."""
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise FileRefused(f"The file is a damaged zip archive or workbook ({error}). Choose another copy.") from error


def read_workbook(data: bytes, name: str, sheet: str = "") -> Draft:
    """Return the draft of a sheet: the named one, or the only visible one with content. Raises FileRefused.

    Values are those that the file has for formulas. A cell that is merged over several rows counts for each of them.
    """
    try:
        return _read(data, name, sheet)
    except FileRefused:
        raise
    except _UNREADABLE as error:
        raise FileRefused(
            f"{name} is a workbook that cannot be read ({type(error).__name__}). Open it in a spreadsheet program and "
            "save it as .xlsx again, or as .csv (UTF-8)."
        ) from error


def _read(data: bytes, name: str, sheet: str) -> Draft:
    _check_size(data, name)
    values = _load(data, data_only=True)
    chosen = _choose(values, name, sheet)
    with ZipFile(io.BytesIO(data)) as archive:
        xml = archive.read(chosen._worksheet_path.lstrip("/"))  # noqa: SLF001 - openpyxl does not say where a sheet is
    has_formulas, merged = _FORMULA.search(xml) is not None, [each.decode() for each in _MERGED.findall(xml)]
    hidden = len(_HIDDEN.findall(xml))
    del xml
    if len(merged) > _MOST_MERGED:
        raise FileRefused(f"{name} has {len(merged):,} merged cells. Save it as .csv (UTF-8).")
    formulas = _cells(_sheet(_load(data, data_only=False), chosen.title), name) if has_formulas else iter(())
    notes = (f"{hidden:,} hidden rows of the sheet {chosen.title} are read, too.",) if hidden else ()
    rows = _rows(_cells(chosen, name), formulas, _MergedCells(merged))
    return table("xlsx", name, rows, notes)


def _rows(
    values: Iterator[tuple[Any, ...]], formulas: Iterator[tuple[Any, ...]], merged: "_MergedCells"
) -> Iterator[tuple[int, list[Cell]]]:
    for number, (cells, others) in enumerate(zip_longest(values, formulas, fillvalue=()), start=1):
        yield number, merged.fill(number, [_text(*pair) for pair in zip_longest(cells, others)])


def _check_size(data: bytes, name: str) -> None:
    with ZipFile(io.BytesIO(data)) as archive:
        size = sum(each.file_size for each in archive.infolist() if "media/" not in each.filename)
    if size > MOST_UNPACKED:
        raise FileRefused(f"{name} unpacks to {size:,} bytes, more than {MOST_UNPACKED:,}. Save it as .csv (UTF-8).")


def _load(data: bytes, *, data_only: bool) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about colours, validation rules and the like
        return load_workbook(io.BytesIO(data), read_only=True, data_only=data_only, keep_links=False)


def _sheet(workbook: Any, title: str) -> Any:
    return next(each for each in workbook.worksheets if each.title == title)


def _choose(workbook: Any, name: str, wanted: str) -> Any:
    sheets = workbook.worksheets
    titles = ", ".join(each.title for each in sheets) or "none"
    if wanted:
        for each in sheets:
            if each.title.strip().casefold() == wanted.strip().casefold():
                return each
        raise FileRefused(f'{name} has no sheet "{wanted[:100]}". Its sheets are: {titles}.')
    visible = [each for each in sheets if each.sheet_state == "visible"]
    if len(visible) > 1:
        visible = [each for each in visible if _has_content(each, name)] or visible[:1]
    if len(visible) > 1:
        raise FileRefused(f"{name} has several sheets: {titles}. Name one below.")
    if not visible:
        raise FileRefused(f"{name} has no visible sheet. Name one below: {titles}.")
    return visible[0]


def _has_content(sheet: Any, name: str) -> bool:
    return any(cell.value is not None for row in _cells(sheet, name) for cell in row)


def _cells(sheet: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of each row. Raises FileRefused for too many rows or cells."""
    sheet.reset_dimensions()  # some programs write wrong ones, and openpyxl would cut the sheet there
    read = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, row in enumerate(sheet.iter_rows(), start=1):
            read += len(row)
            if number > _MOST_ROWS or read > _MOST_CELLS:
                raise FileRefused(f"{name} has more than {_MOST_ROWS:,} rows or {_MOST_CELLS:,} cells. {LARGER}")
            yield row


def _text(cell: Any, formula: Any) -> Cell:
    if cell is None:
        return ""
    if cell.value is None and formula is not None and formula.data_type == "f" and cell.data_type != "str":
        return None
    return cell_text(cell.value, cell.number_format if isinstance(cell.value, int | float) else None)


class _MergedCells:
    """Repeats the value of a cell that is merged over several rows in each of them. Rows come in order."""

    def __init__(self, ranges: list[str]) -> None:
        bounds = [range_boundaries(each) for each in ranges]
        self._starting = sorted((top, left, bottom) for left, top, _, bottom in bounds if bottom > top)[::-1]
        self._open: list[tuple[int, int, Cell]] = []  # column, last row, value

    def fill(self, number: int, cells: list[Cell]) -> list[Cell]:
        """Return the cells of this row, with the values of merged cells that began above."""
        self._open = [each for each in self._open if each[1] >= number]
        is_empty = not any(cell is None or cell.strip() for cell in cells)
        for column, _, value in () if is_empty else self._open:
            cells += [""] * (column + 1 - len(cells))
            cells[column] = value
        while self._starting and self._starting[-1][0] <= number:
            _, left, bottom = self._starting.pop()
            if left <= len(cells) and (cells[left - 1] is None or cells[left - 1]):
                self._open.append((left - 1, bottom, cells[left - 1]))
        return cells
