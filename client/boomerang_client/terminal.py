"""Text from outside on its way to a terminal: the sink for plain text. With rich, `safe_console` is the sink."""

import re
import shlex

#: What a terminal may obey instead of showing: control characters (C0, C1), marks that change the direction of text
#: (Unicode's Bidi_Control), separators of lines; and halves of surrogate pairs, which no output can encode.
_OBEYED = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_LINE = re.compile(f"[\x00-\x1f{_OBEYED}]")
_IN_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{_OBEYED}]")


def clean(text: object) -> str:
    """Return text on one line, with a replacement character for each character that is not plain."""
    return _IN_LINE.sub("\N{REPLACEMENT CHARACTER}", " ".join(str(text).split()))


def shell_word(text: str) -> str:
    """Return text as one word of a command that people copy into a shell."""
    return shlex.quote(clean(text))


def plain(text: str) -> str:
    """Return text whose line feeds, tabs and spaces stay, with a replacement character as in `clean`."""
    return text if text.isascii() and text.isprintable() else _IN_LINES.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    r"""Return text whose line feeds and tabs stay, with an escape such as `\x1b` instead."""
    return _IN_LINES.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def plain_json(line: str) -> str:
    r"""Return a line of JSON that means the same, with `\u001b` or `\u202e` instead of such a character.

    In JSON they can only be in strings, except a carriage return, which is white space.
    """
    return _IN_LINE.sub(_escape_json, line)


def _escape_json(found: "re.Match[str]") -> str:
    letter = found[0]
    return " " if letter in "\t\n\r" else f"\\u{ord(letter):04x}"
