"""Durations on the command line: `90s`, `10m`, `1h`, `2d`."""

import re

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(written: str | float) -> float:
    """Convert a number with a unit to seconds. For use as the type of an option."""
    if isinstance(written, (int, float)):
        return float(written)
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", written)
    if parts is None:
        raise click.BadParameter(f"{written!r} is not a duration. Write, for example, 90s, 10m, 1h or 2d.")
    return float(parts[1]) * _SECONDS[parts[2]]


def format_duration(seconds: float) -> str:
    """Write a duration in its largest unit and the next smaller one, such as `1 h 5 min`."""
    whole = max(0, int(seconds))
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"
