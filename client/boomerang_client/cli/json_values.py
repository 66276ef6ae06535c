"""Read JSON values one after another, in chunks."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from boomerang_client.errors import UsageError
from boomerang_client.ndjson import LARGEST

_CHUNK = 64 * 1024
_SPACE = re.compile(r"[\s,]*")


class JsonValues:
    """Iterates over the values of a JSON array, or of a file with one value after another.

    Yields each value with its text. Integers in the value are not exact. Raises UsageError for what is not JSON.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        # Python refuses to parse thousands of digits as an integer. Here only the extent of a value matters.
        self._text, self._decode = text, json.JSONDecoder(parse_int=float).raw_decode
        self._buffer, self._at, self._line, self._ended = "", 0, 1, False

    def __iter__(self) -> Iterator[tuple[Any, str]]:
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

    def _value(self) -> tuple[Any, str]:
        while True:
            start = self._at
            try:
                value, self._at = self._decode(self._buffer, start)
            except (ValueError, RecursionError) as error:
                if self._ended or len(self._buffer) - self._at > LARGEST:
                    line = self._line + self._buffer.count("\n", 0, getattr(error, "pos", self._at))
                    raise UsageError(f"The file is not JSON from line {line} on ({error}).") from error
                self._fill()
            else:
                return value, self._buffer[start : self._at]

    def _fill(self) -> None:
        self._line += self._buffer.count("\n", 0, self._at)
        rest = self._buffer[self._at :]
        more = self._text.read(max(_CHUNK, len(rest)))  # doubled, so that a long value is not parsed too often
        self._buffer, self._at, self._ended = rest + more, 0, not more
