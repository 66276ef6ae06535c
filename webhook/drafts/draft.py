"""A draft: the lines of a file or of pasted text, which the browser keeps between the steps of a new batch.

The page carries the draft in a hidden field, packed. So nothing is stored before the batch begins, there is nothing to
expire or to sweep, and any process of the service may answer the next step. Each step checks the draft again, because a
browser may send anything.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webhook.drafts.errors import FileRefused

#: Most of what a draft may have: lines, columns, characters of all its cells, bytes of its packed form.
MOST_LINES, MOST_COLUMNS, MOST_CHARACTERS, MOST_PACKED = 20_000, 200, 16 * 1024 * 1024, 12 * 1024 * 1024
#: The other ways for a batch that is larger.
LARGER = "For more, use `boomerang enqueue` or POST /v1/batches, which have no such limit."
#: Characters of a file's name that are kept.
_LONGEST_NAME = 120
#: Bytes of the unpacked form: UTF-8 with JSON's escapes and signs.
_MOST_UNPACKED = 4 * MOST_CHARACTERS
KINDS = ("csv", "xlsx", "ndjson", "txt")

#: None: the cell of a formula whose value was not saved.
Cell = str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """Lines, with the numbers under which their author finds them. A line of a table has cells; others have one text.

    `kind`: one of KINDS. `header`: the names of the columns; of tables only. `notes`: what its author should know.
    """

    kind: str
    name: str
    header: tuple[str, ...]
    lines: tuple[tuple[int, tuple[Cell, ...]], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.lines:
            raise FileRefused(f"{self.label} has no lines{' below its heading' if self.is_table else ''}.")
        if len(self.lines) > MOST_LINES:
            raise FileRefused(f"{self.label} has more than {MOST_LINES:,} lines. {LARGER}")
        if len(self.header) > MOST_COLUMNS:
            raise FileRefused(
                f"{self.label} has {len(self.header):,} columns, more than {MOST_COLUMNS}. Leave some out."
            )
        if sum(len(cell or "") for _, cells in self.lines for cell in cells) > MOST_CHARACTERS:
            raise FileRefused(f"{self.label} has more than {MOST_CHARACTERS:,} characters. {LARGER}")

    @property
    def is_table(self) -> bool:
        """Whether its columns have to be mapped to parameters."""
        return self.kind in ("csv", "xlsx")

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.name or "The text"

    @property
    def unit(self) -> str:
        """The word for one of its lines."""
        return "row" if self.is_table else "line"

    def pack(self) -> str:
        """Return it as text for a form. Raises FileRefused if it is too long."""
        data = [self.kind, self.name[:_LONGEST_NAME], self.header, self.lines, self.notes]
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
        packed = base64.b64encode(zlib.compress(text, 6)).decode()
        if len(packed) > MOST_PACKED:
            raise FileRefused(f"{self.label} is too large for this page. {LARGER}")
        return packed


def unpack(packed: str) -> Draft:
    """Return the draft in a form. Raises FileRefused for anything but an answer of `Draft.pack`."""
    try:
        return _unpack(packed)
    except (binascii.Error, zlib.error, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, FileRefused):
            raise
        raise FileRefused("The file did not come back from your browser as it was. Choose it again.") from error


def _unpack(packed: str) -> Draft:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(base64.b64decode(packed, validate=True), _MOST_UNPACKED)
    if not unpacker.eof:
        raise ValueError("unpacked size")
    kind, name, header, lines, notes = json.loads(text.decode(errors="surrogatepass"))
    if kind not in KINDS or not isinstance(name, str):
        raise ValueError(kind)
    rows = tuple((_number(number), _cells(cells)) for number, cells in lines)
    return Draft(kind, name, _texts(header), rows, _texts(notes))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        raise ValueError(value)
    return value


def _cells(values: Sequence[Any]) -> tuple[Cell, ...]:
    if not isinstance(values, list) or not all(value is None or isinstance(value, str) for value in values):
        raise ValueError(type(values))
    return tuple(values)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    if None in (cells := _cells(values)):
        raise ValueError(values)
    return tuple(str(each) for each in cells)
