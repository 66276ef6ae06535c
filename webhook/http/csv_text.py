"""CSV (RFC 4180) for spreadsheets and terminals: the only place of the service that writes it.

Every cell may contain text from outside: of the provider, of producers. No spreadsheet must take it for a formula
(OWASP, "CSV Injection"), and no terminal for a command.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from jobs.plain_text import lines

#: A cell that begins like this may be a formula; the full-width forms too, and white space before it does not help.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV. A cell that might be a formula begins with an apostrophe; control characters are escaped."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(map(safe_cell, row) for row in rows)
    return text.getvalue()


def safe_cell(cell: str) -> str:
    """Return a text as a cell has it."""
    plain = lines(cell)
    return f"'{plain}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else plain
