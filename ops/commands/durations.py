"""Spans of time on the command line: `90s`, `10m`, `1h`, `2d`."""

import re

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(written: str | float) -> float:
    """A number with a unit, as seconds: the type of an option."""
    if isinstance(written, (int, float)):
        return float(written)
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", written)
    if parts is None:
        raise click.BadParameter(f"{written!r} is no span of time; write 90s, 10m, 1h or 2d.")
    return float(parts[1]) * _SECONDS[parts[2]]


def spoken(seconds: float) -> str:
    """A span of time for people, in its largest unit and the next."""
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"
