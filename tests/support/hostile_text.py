"""Text that tries to control whatever shows it, and what must not leave in any output."""

import re
from collections.abc import Iterator

import click

#: Opens a link, sets the title, empties the screen, reverses the text, overwrites and forges lines, runs a formula, and
#: looks like markup of rich, HTML, an emoji code and a format. No output can encode its half of a surrogate pair.
HOSTILE = (
    "=cmd|'/C calc'!A0[/oops][link=x]\x1b]8;;http://evil.example\x07click\x1b]0;title\x07\x1b[2J\x1bc\x9b31m\x9d0;t\x9c"
    "\u202egnp.\u2066x\u200f\x08\x7f\rOVER\nFORGED 2026-11-27 ERROR\u2028FORGED\u2029FORGED\x85FORGED\x0bFORGED"
    ":boom: %s {0} <script>alert(1)</script>\"'&"
)
SURROGATE = "\ud800"
#: What a terminal would obey. Rich's own sequences are others: colours, the cursor, erasing a line.
OBEYED = re.compile(
    "\x1b(?![\\[])|\x1b\\[[0-9;]*[JX]|[\x07\x08\x0b\x0c\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|\rOVER"
)
_FORGED = re.compile(r"^\W*FORGED", re.MULTILINE)


def assert_plain(text: str) -> None:
    """Assert that a terminal shows this text and obeys nothing in it, and that no line is forged."""
    found = OBEYED.search(text)
    assert found is None, ascii(text[max(0, found.start() - 80) : found.end() + 20])
    forged = _FORGED.search(text)
    assert forged is None, ascii(text[max(0, forged.start() - 80) : forged.end() + 20])


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each command of a group, its sub-groups included."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)
