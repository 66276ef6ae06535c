"""Make text from outside safe to print on a terminal."""

import re

#: What a terminal may obey instead of showing: C0 and C1 control characters, and marks that reverse the text.
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: object) -> str:
    """Return text from outside on one line, with a replacement character for each control character."""
    return CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", " ".join(str(text).split()))
