"""`boomerang deliveries`, `boomerang replay` and `boomerang receivers`."""

import click

from boomerang_client.cli.options import examples, json_option, moment
from boomerang_client.cli.screen import Screen
from boomerang_client.cli.tables import Column, print_table
from boomerang_client.delivery_records import Delivery, Receiver

STATES = ("pending", "failed", "delivered", "given_up")
_state = click.option(
    "--state",
    "states",
    type=click.Choice(STATES),
    multiple=True,
    help=f"Only deliveries in this state: {', '.join(STATES)}. May be repeated.",
)
_host = click.option("--host", metavar="HOST", help="Only those whose last attempt went to this host.")
_since = click.option("--since", type=moment, metavar="TIME", help="Only what changed since then: 2026-01-31, or 2h.")


def _last(delivery: Delivery, name: str) -> object:
    return getattr(delivery.attempts[-1], name) if delivery.attempts else None


_DELIVERIES: tuple[Column[Delivery], ...] = (
    Column(name="job or batch", plain=lambda row: row.job or row.batch),
    Column(name="event", plain=lambda row: row.event),
    Column(name="state", plain=lambda row: row.state),
    Column(name="attempts", plain=lambda row: len(row.attempts), right=True),
    Column(name="status", plain=lambda row: _last(row, "status"), rank=1, right=True),
    Column(name="changed", plain=lambda row: row.changed_at, rank=2),
    Column(name="next", plain=lambda row: _last(row, "next_at"), rank=4),
    Column(name="error", plain=lambda row: _last(row, "error") or row.error, rank=3),
    Column(name="address", plain=lambda row: _last(row, "address"), rank=5),
)
_RECEIVERS: tuple[Column[Receiver], ...] = (
    Column(name="host", plain=lambda row: row.name),
    Column(name="state", plain=lambda row: row.state),
    Column(name="accepted", plain=lambda row: row.accepted_at, rank=1),
    Column(name="failing since", plain=lambda row: row.failing_since, rank=2),
    Column(name="error", plain=lambda row: row.error, rank=3),
)


@click.command(
    short_help="Show what became of notifications.",
    epilog=examples(
        "boomerang deliveries boats.17",
        "boomerang deliveries --state given_up --since 2d",
        "boomerang deliveries --host hooks.shop.example --json | jq .attempts",
    ),
)
@click.argument("job", required=False)
@_state
@_host
@_since
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="NUMBER", help="At most this many."
)
@json_option
@click.pass_obj
def deliveries(screen: Screen, /, *, job: str | None, limit: int, **only: object) -> None:
    """Show the notifications at your `callback_url`, the last changed first, or those of JOB.

    \b
    pending    not tried yet
    failed     the last attempt failed, another one follows
    delivered  the receiver accepted it
    given_up   it failed for a day, or its receiver is disabled: replay it

    In a pipe: one line each, with tabs between job or batch, event, state, attempts, status, time, next
    attempt, error and address.
    """  # noqa: D301 -- click keeps the lines of a block that begins with a backspace, written as \b
    found = screen.client().deliveries(job, limit=limit, **only)  # type: ignore[arg-type] # click's values
    if screen.as_json:
        for each in found:
            screen.result_json(each.raw)
        return
    print_table(screen, _DELIVERIES, found, "There are no such deliveries.")


@click.command(
    short_help="Send notifications again.",
    epilog=examples(
        "boomerang replay boats.17",
        "boomerang replay --host hooks.shop.example",
        "boomerang replay --state delivered --since 2h",
    ),
)
@click.argument("job", required=False)
@click.option("--failed", "everything", is_flag=True, help="All that failed or were given up.")
@_state
@_host
@_since
@json_option
@click.pass_obj
def replay(screen: Screen, /, *, job: str | None, everything: bool, **only: object) -> None:
    """Send the notification of JOB again, or all that failed or were given up.

    They have the same ids as before, so a receiver can tell repeats. With --host, that receiver is enabled first.
    """
    if job is None and not everything and not any(only.values()):
        raise click.UsageError("Name a JOB, or choose with --failed, --state, --host or --since.")
    if job is not None and (everything or any(only.values())):
        raise click.UsageError("Name a JOB, or choose with options, not both.")
    count = screen.client().replay(job, **only)  # type: ignore[arg-type] # click's values
    if screen.as_json:
        screen.result_json({"replayed": count})
        return
    screen.message(f"{count:,} sent again." if count else "Nothing was sent again.")


@click.command(
    short_help="Show the hosts that get notifications.",
    epilog=examples("boomerang receivers", "boomerang receivers --enable hooks.shop.example"),
)
@click.option("--enable", metavar="HOST", help="Enable this host again, and close its circuit breaker.")
@json_option
@click.pass_obj
def receivers(screen: Screen, *, enable: str | None) -> None:
    """Show the hosts that get your notifications: the last success, and since when each fails.

    A host that fails for days is disabled. What was given up meanwhile is sent by `boomerang replay --host HOST`.

    In a pipe: one line each, with tabs between host, state, last success, failing since and error.
    """
    client = screen.client()
    found = [client.enable_receiver(enable)] if enable else client.receivers()
    if screen.as_json:
        for each in found:
            screen.result_json(each.raw)
        return
    print_table(screen, _RECEIVERS, found, "No host got notifications yet.")
