"""Repair the text of a JSON object: unknown escapes and words, commas at the end, too many levels, a missing end."""

import re
from dataclasses import dataclass

#: A backslash, and the escape that it begins, if it begins one.
_ESCAPE = re.compile(r"\\([\"\\/bfnrt]|u[0-9a-fA-F]{4})?")
#: The pieces of a text that a repair tells apart. No repetition can be split in two ways, so the time is linear.
_PIECE = re.compile(
    r"(?P<text>\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"?)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)"
    r"|(?P<number>-?[0-9][0-9a-zA-Z.+-]*+)|(?P<word>-?[A-Za-z_]\w*+)",
    re.DOTALL,
)
#: Words in other notations than JSON's. Any other one becomes an empty text.
_WORDS = {"none": "null", "undefined": "null", "nil": "null", "true": "true", "false": "false", "null": "null"}
_WORDS |= {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_WORDS |= {"infinity": "Infinity", "-infinity": "-Infinity"}
_CLOSES = {"{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Repaired:
    """Texts to decode, the best first; `whole`: the end of the object was found."""

    candidates: tuple[str, ...]
    whole: bool


def repair(text: str, depth: int) -> Repaired:
    """Repair the object with which a text begins. What is nested deeper than `depth` becomes null.

    Without an end, the text is cut behind the last member that is complete, inside objects only: half of an array of
    images would pass for all of them, and half of a price for another price.
    """
    return _Repair(depth).run(_ESCAPE.sub(_valid_escape, text))


def _valid_escape(found: re.Match[str]) -> str:
    return found[0] if found[1] else "\\\\"


class _Repair:
    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._out: list[str] = []
        self._open: list[str] = []  # brackets that are not closed
        self._arrays = 0  # how many of them begin an array
        self._complete: tuple[int, str] | None = None  # pieces up to the last complete member, and what closes it

    def run(self, text: str) -> Repaired:
        end, kind = 0, ""
        skips = False
        for found in _PIECE.finditer(text):
            kind, piece = found.lastgroup or "", found[0]
            if skips:
                skips = self._skip(kind)
                end = found.end()
                continue
            self._out.append(text[end : found.start()])
            end = found.end()
            if kind == "open":
                skips = self._begin(piece)
            elif kind == "close":
                if _CLOSES[self._open[-1]] != piece:
                    kind = ""  # the kind of what follows is unknown
                    break
                self._end(piece)
                if not self._open:
                    return Repaired(("".join(self._out),), whole=True)
            elif kind == "comma":
                self._separate()
            else:
                self._out.append(_WORDS.get(piece.lower(), '""') if kind == "word" else piece)
        return Repaired(tuple(self._cut(kind)), whole=False)

    def _begin(self, bracket: str) -> bool:
        """Return whether all up to the matching bracket is too deep."""
        too_deep = len(self._open) == self._depth
        self._open.append(bracket)
        self._arrays += bracket == "["
        self._out.append("null" if too_deep else bracket)
        return too_deep

    def _skip(self, kind: str) -> bool:
        """Count the brackets of what is too deep. Returns whether it goes on."""
        if kind == "open":
            self._open.append("")
        elif kind == "close" and (bracket := self._open.pop()):
            self._arrays -= bracket == "["
            return False
        return True

    def _end(self, bracket: str) -> None:
        self._arrays -= self._open.pop() == "["
        # Remove a comma before it; only white space may stand between them.
        place = len(self._out) - 1
        while place >= 0 and not self._out[place].strip():
            place -= 1
        if self._out[place] == ",":
            self._out[place] = ""
        self._out.append(bracket)

    def _separate(self) -> None:
        if not self._arrays:
            self._complete = len(self._out), "}" * len(self._open)
        self._out.append(",")

    def _cut(self, last: str) -> list[str]:
        """Return the texts without an end. `last`: the kind of the last piece, which may be cut itself."""
        candidates = []
        if not self._arrays and last in ("text", "close"):
            candidates.append("".join(self._out) + "}" * len(self._open))
        if self._complete:
            pieces, closing = self._complete
            candidates.append("".join(self._out[:pieces]) + closing)
        return candidates
