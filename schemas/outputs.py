"""The results of a task: URLs are checked here, where they enter, so that no other code has to check them.

People click on a result's URL, spreadsheets and terminals display it, and programs fetch it. So only a plain http(s)
URL passes. Its host may be private: worker.http.download checks the address that it connects to.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from schemas.provider_report import Output

#: Characters. A presigned URL with a session token is longer than 2,048.
MAX_URL = 8192
#: Most results of a task: nine images, each also with a watermark. More are left out.
MOST_RESULTS = 18
_MOST_READ = 1000
_BEYOND = f"beyond the first {MOST_RESULTS}"
#: The beginnings of types, and what they become. Every other type is an image: that is what was paid for.
_TYPES = ("video", "audio")
_SCHEMES = frozenset({"http", "https"})
#: What RFC 3986 allows in a URL beside letters and digits, and a percent sign.
_PLAIN = "-._~:/?#[]@!$&'()*+,;=%"
_ALLOWED = re.compile(rf"[A-Za-z0-9{re.escape(_PLAIN)}]*")


@dataclass(frozen=True, slots=True)
class Outputs:
    """The results that can be used, and which others were left out: `2 results whose URL is not text`."""

    kept: tuple[Output, ...] = ()
    left_out: tuple[str, ...] = ()


def read_outputs(values: Iterable[Any]) -> Outputs:
    """Read results, `{"type", "url", "watermark_url"}` each. Never raises.

    An item without a URL is none: it may be an error, or null.
    """
    kept: list[Output] = []
    problems: dict[str, int] = {}
    for place, value in enumerate(values):
        if place == _MOST_READ:
            break
        url = value.get("url") if isinstance(value, Mapping) else None
        if not url:
            continue
        address, problem = checked_url(url)
        if address is None:
            problems[problem] = problems.get(problem, 0) + 1
        elif len(kept) == MOST_RESULTS:
            problems[_BEYOND] = problems.get(_BEYOND, 0) + 1
        else:
            marked = checked_url(value["watermark_url"])[0] if "watermark_url" in value else None
            kept.append(Output(_type(value.get("type")), address, marked))
    left_out = tuple(f"{count} result{'s'[: count > 1]} {problem}" for problem, count in problems.items())
    return Outputs(tuple(kept), left_out)


def _type(value: object) -> str:
    word = value.strip().lower() if isinstance(value, str) else ""
    return next((known for known in _TYPES if word.startswith(known)), "image")


def checked_url(value: object) -> tuple[str | None, str]:
    """Return a URL as it may be used, or None and what is wrong. The problem never quotes the value."""
    if not isinstance(value, str):
        return None, "whose URL is not text"
    url = value.strip()
    if len(url) <= MAX_URL and url.isprintable() and not _ALLOWED.fullmatch(url):
        # Spaces, and letters of other alphabets: browsers encode them in the same way.
        url = quote(url, safe=_PLAIN)
    problem = _problem(url)
    return (None, problem) if problem else (url, "")


def _problem(url: str) -> str:
    if len(url) > MAX_URL:
        return f"whose URL has more than {MAX_URL:,} characters"
    if not url.isprintable():
        return "whose URL contains control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    else:
        if parts.scheme not in _SCHEMES:
            return "whose URL does not begin with http:// or https://"
        if "@" in parts.netloc:
            return "whose URL contains credentials"
    return "" if host and "%" not in host else "whose URL has no valid host"
