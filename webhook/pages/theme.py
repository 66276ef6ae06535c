"""The theme that a person chose: light, dark, or that of the system. A cookie keeps it, so that it needs no script."""

from enum import StrEnum

from flask import Response, request

COOKIE = "boomerang-theme"
_MAX_AGE = 31_536_000


class Theme(StrEnum):
    """A theme of the pages."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


def theme() -> Theme:
    """Return the theme of the browser that asks."""
    return parsed(request.cookies.get(COOKIE, ""))


def parsed(text: str) -> Theme:
    """Return the named theme; that of the system for any other text."""
    return Theme(text) if text in set(Theme) else Theme.SYSTEM


def keep(response: Response, chosen: Theme) -> None:
    """Have the browser keep the theme. Scripts may change it: it is no secret."""
    response.set_cookie(COOKIE, chosen, max_age=_MAX_AGE, samesite="Lax")
