"""Keep the parts of an address, which may be secrets, out of a text."""

import re

#: Characters from which on a part of a URL is hidden.
_SHORTEST_SECRET = 4


def hide(text: str, url: str) -> str:
    """Replace the parts of a URL in a text."""
    parts = {each for each in re.split(r"[:/?#@&=,+]+", url.partition("://")[2]) if len(each) >= _SHORTEST_SECRET}
    for part in sorted({url, *parts}, key=len, reverse=True):
        text = text.replace(part, "***")
    return text
