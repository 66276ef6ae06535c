"""The refused lines of an upload, grouped: lines with the same mistake are one problem."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Problems that are told apart, first lines of each that are listed, and characters of an example.
MOST_PROBLEMS, FIRST_LINES, LONGEST_MESSAGE = 100, 10, 300
_OTHERS = "others"
_INDEX = re.compile(r"(?<=\.)\d+(?=\.|$)")
#: What a message quotes of a value: lines that differ only in it have the same mistake.
_VALUE = re.compile(r'"[^"]*"?|[\w.:~-]*\d[\w.:~-]*')


@dataclass(slots=True)
class _Problem:
    message: str
    codes: Sequence[str]
    count: int = 0
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class LineProblems:
    """Counts mistakes by field and message. Bounded, however many lines are refused."""

    _found: dict[tuple[str, str], _Problem] = field(default_factory=dict)

    def add(self, line: int, errors: Mapping[str, Sequence[str]], codes: Sequence[str]) -> None:
        """Count the mistakes of a line, each once."""
        for key, message in {self._key(path, text): text for path, texts in errors.items() for text in texts}.items():
            kept = key if key in self._found or len(self._found) < MOST_PROBLEMS else (_OTHERS, "")
            problem = self._found.setdefault(kept, _Problem(message[:LONGEST_MESSAGE], list(codes)))
            problem.count += 1
            if len(problem.lines) < FIRST_LINES:
                problem.lines.append(line)

    @staticmethod
    def _key(path: str, message: str) -> tuple[str, str]:
        return _INDEX.sub("*", path), _VALUE.sub("…", message)

    def view(self) -> list[dict[str, Any]]:
        """Return them as `schemas.views.quotes.LineProblem` documents it, the most frequent first."""
        found = sorted(self._found.items(), key=lambda each: -each[1].count)
        return [
            {"field": name, "message": each.message, "codes": each.codes, "lines": each.count, "first": each.lines}
            for (name, _), each in found
        ]
