"""Kinds of values on the command line: durations, moments, labels, money."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def seconds_of(text: str) -> float | None:
    """Seconds of "90", "90s", "15m", "2h" or "7d"; None for anything else."""
    found = _DURATION.fullmatch(text.strip())
    return float(found[1]) * _UNITS[found[2]] if found else None


def duration(value: str) -> float:
    """An option's type: seconds, or a number with s, m, h or d."""
    seconds = seconds_of(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is no duration; write seconds, or 90s, 15m, 2h, 7d.")
    return seconds


def moment(value: str) -> datetime:
    """An option's type: a time in ISO 8601, or how long ago it was."""
    ago = None if value.isdigit() else seconds_of(value)
    if ago is not None:
        return datetime.now(timezone.utc) - timedelta(seconds=ago)
    try:
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is no time; write 2026-01-31, 2026-01-31T12:00, or how long ago: 2h."
        ) from error
    return found if found.tzinfo else found.astimezone()


def money(value: str) -> Decimal:
    """An option's type: US dollars, not negative."""
    try:
        amount = Decimal(value.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise click.BadParameter(f"{value!r} is no amount of US dollars; write it like 12.50.")
    return amount


def pair(value: str) -> tuple[str, str]:
    """An option's type: `name=value`."""
    key, equals, rest = value.partition("=")
    if not equals or not key.strip():
        raise click.BadParameter(f"{value!r} is no pair; write NAME=VALUE.")
    return key.strip(), rest


def label_option(what: str) -> Callable[[Command], Command]:
    """`--label KEY=VALUE`, as often as needed."""
    return click.option("--label", "labels", type=pair, multiple=True, metavar="KEY=VALUE", help=what)


def patience_option(default: str) -> Callable[[Command], Command]:
    """`--patience DURATION`."""
    return click.option(
        "--patience",
        type=duration,
        default=default,
        show_default=True,
        metavar="DURATION",
        help="How long to wait for a service that is away or takes nothing in.",
    )


def one_of(job: str | None, batch: str | None) -> str:
    """The id that was given, of a job or of a batch. Raises a usage error unless it was exactly one."""
    if (job is None) is (batch is None):
        raise click.UsageError("Name either one job or one batch; see --help.")
    return job or batch or ""
