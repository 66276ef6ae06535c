"""Characters that display nothing, so that a text of nothing else is as good as empty."""

import re
from unicodedata import category

#: Default_Ignorable_Code_Point (Unicode's DerivedCoreProperties.txt): zero-width characters, the byte order mark,
#: variation selectors, Hangul fillers, tags. In addition: the blank Braille pattern, and the mark that replaces an
#: object which was lost when the text was copied.
_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\ufffc\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_IGNORABLE}]")
#: Control and format characters.
_CONTROL = frozenset({"Cc", "Cf"})
#: Characters. Each is examined alone, so a longer text does not count as blank. Other rules limit its length.
_LONGEST = 10_000


def is_blank(text: str) -> bool:
    """Return whether a text of at most 10,000 characters has only white space and invisible ones, or nothing at all."""
    return len(text) <= _LONGEST and all(char.isspace() or is_invisible(char) for char in text)


def is_invisible(char: str) -> bool:
    """Return whether a character displays nothing and takes no space. White space does."""
    return not char.isspace() and (_INVISIBLE.match(char) is not None or category(char) in _CONTROL)
