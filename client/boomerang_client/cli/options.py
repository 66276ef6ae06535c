"""Options that several commands share, and the types of their values."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

import click

from boomerang_client.cli.screen import Command, Screen
from boomerang_client.record_fields import Status

#: The states of a job and of a batch that lists can filter by.
JOB_STATES = tuple(status.value for status in Status if status is not Status.UNKNOWN)
BATCH_STATES = ("running", "paused", "done")
#: What a failure can mean: what its error code says about the remedy.
FAILURE_CLASSES = ("moderation", "quota", "invalid", "transient", "provider", "unsaved")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# More digits are no duration, but infinity.
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*([smhd]?)")


def examples(*commands: str) -> str:
    """Write commands as the end of a help text, one a line."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


def seconds_of(text: str) -> float | None:
    """Parse "90", "90s", "15m", "2h" or "7d" into seconds. Returns None for anything else."""
    found = _DURATION.fullmatch(text.strip())
    return float(found[1]) * _UNITS[found[2]] if found else None


def duration(value: str) -> float:
    """Parse an option's duration into seconds."""
    seconds = seconds_of(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is not a duration. Write seconds, or 90s, 15m, 2h, 7d.")
    return seconds


def moment(value: str) -> datetime:
    """Parse an option's time: ISO 8601, or how long ago it was."""
    ago = None if value.isdigit() else seconds_of(value)
    try:
        if ago is not None:
            return datetime.now(timezone.utc) - timedelta(seconds=ago)
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is not a time. Write 2026-01-31, 2026-01-31T12:00, or how long ago it was: 2h."
        ) from error
    return found if found.tzinfo else found.astimezone()


def money(value: str) -> Decimal:
    """Parse an option's amount of US dollars, which cannot be negative."""
    try:
        amount = Decimal(value.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise click.BadParameter(f"{value!r} is not an amount of US dollars. Write it like 12.50.")
    return amount


def pair(value: str) -> tuple[str, str]:
    """Parse an option's `NAME=VALUE`."""
    name, equals, rest = value.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"{value!r} is not a pair. Write NAME=VALUE.")
    return name.strip(), rest


def json_option(command: Command) -> Command:
    """Add `--json`, which works before and after the command's name."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 -- click's call
        screen = ctx.ensure_object(Screen)
        screen.as_json = screen.as_json or value

    return click.option(
        "--json", is_flag=True, expose_value=False, callback=remember, help="Print JSON, one object a line."
    )(command)


def label_option(help_text: str) -> Callable[[Command], Command]:
    """Add `--label NAME=VALUE`, which may be repeated."""
    return click.option("--label", "labels", type=pair, multiple=True, metavar="NAME=VALUE", help=help_text)


def states_option(command: Command) -> Command:
    """Add `--status STATE`, which may be repeated."""
    return click.option(
        "--status",
        "statuses",
        multiple=True,
        type=click.Choice(JOB_STATES),
        metavar="STATE",
        help=f"Only jobs in this state: {', '.join(JOB_STATES)}. May be repeated.",
    )(command)


def failure_option(help_text: str) -> Callable[[Command], Command]:
    """Add `--class CLASS`, which may be repeated."""
    return click.option(
        "--class",
        "classes",
        multiple=True,
        type=click.Choice(FAILURE_CLASSES),
        metavar="CLASS",
        help=f"{help_text}: {', '.join(FAILURE_CLASSES)}. May be repeated.",
    )


def set_option(help_text: str) -> Callable[[Command], Command]:
    """Add `--set MEMBER=VALUE`, which may be repeated."""
    return click.option("--set", "members", type=pair, multiple=True, metavar="MEMBER=VALUE", help=help_text)


def priority_option(help_text: str) -> Callable[[Command], Command]:
    """Add `--priority`."""
    return click.option("--priority", type=click.Choice(["high", "normal", "low"]), help=help_text)


def expires_option(command: Command) -> Command:
    """Add `--expires-in DURATION`."""
    return click.option(
        "--expires-in", type=duration, metavar="DURATION", help="End a job unpaid if it has not begun by then."
    )(command)


def private_hosts_option(command: Command) -> Command:
    """Add `--private-hosts`."""
    return click.option(
        "--private-hosts",
        is_flag=True,
        help="Also save images from hosts that are not public. Without it only if the service is at a private address.",
    )(command)


def patience_option(default: str) -> Callable[[Command], Command]:
    """Add `--patience DURATION`."""
    return click.option(
        "--patience",
        type=duration,
        default=default,
        show_default=True,
        metavar="DURATION",
        help="How long to wait for a service that is unreachable or accepts no work.",
    )
