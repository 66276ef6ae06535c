"""Text from outside on its way to a terminal or a log: what either might obey is written as an escape.

Each way out has one sink, which calls this: `jobs.logs` for logs, `ops.commands.terminal` and `ops.local.console` for
terminals, `webhook.http.csv_text` for CSV. HTML is escaped by Jinja.
"""

import re

#: Control characters (C0, C1, DEL), line and paragraph separators, marks that change the direction of text (Unicode's
#: Bidi_Control), and halves of surrogate pairs, which no output can encode.
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_LINE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")
_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]")


def one_line(text: str) -> str:
    r"""Return text on one line, with `\n`, `\x1b` or `\u202e` for the characters that are not plain."""
    return text if text.isascii() and text.isprintable() else _LINE.sub(_escape, text)


def lines(text: str) -> str:
    """Like `one_line`, but keep line feeds and tabs."""
    return text if text.isascii() and text.isprintable() else _LINES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
