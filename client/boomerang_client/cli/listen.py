"""`boomerang listen`: notifications as they happen, on a machine that the service cannot reach."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

import click

from boomerang_client.cli.options import duration, examples, json_option, moment
from boomerang_client.cli.plain_output import echo
from boomerang_client.cli.screen import Screen
from boomerang_client.client import Client
from boomerang_client.delivery_records import Delivery
from boomerang_client.retrying import PATIENCE, PatientCaller
from boomerang_client.terminal import clean

#: Seconds by which each question overlaps the one before, because changes become visible a little late.
OVERLAP = 60.0
#: Deliveries whose last state is remembered, so that none is printed twice.
REMEMBERED = 50_000


@click.command(
    short_help="Print notifications as they happen.",
    epilog=examples("boomerang listen", "boomerang listen --since 1h --json | jq .event"),
)
@click.option("--since", type=moment, metavar="TIME", help="Begin with what changed since then: 2026-01-31, or 2h.")
@click.option(
    "--every", type=duration, default="2s", show_default=True, metavar="DURATION", help="How often to ask the service."
)
@json_option
@click.pass_obj
def listen(screen: Screen, *, since: datetime | None, every: float) -> None:
    """Print each notification at your `callback_url` and each of its attempts, until you press Ctrl-C.

    For development: it asks the service, so it works where no notification can arrive. It changes nothing, and the
    notifications are sent to their `callback_url` all the same. A job or batch without one has none to print.

    In a pipe: one line each, with tabs between time, job or batch, event, state, status and error.
    """
    if not screen.as_json:
        screen.message("Waiting for notifications. Ctrl-C ends this.", "dim")
    for each in changes(screen, screen.client(), since, max(every, 0.1)):
        if screen.as_json:
            screen.result_json(each.raw)
        else:
            echo(_line(each, for_people=screen.out.is_terminal))


def changes(screen: Screen, client: Client, since: datetime | None, every: float) -> Iterator[Delivery]:
    """Yield each change of a delivery once, oldest first, without an end. A service that is away is waited for.

    Without `since` it begins with what changes from now on. All times are of the service's clock.
    """
    call = PatientCaller(PATIENCE, time.monotonic, time.sleep, screen.report_wait)
    seen: dict[tuple[object, ...], None] = {}
    newest = since
    if since is None and (last := call(lambda: list(client.deliveries(limit=1)))):
        newest = last[0].changed_at
        seen.update((_state(each), None) for each in call(partial(_read, client, _before(newest))))
    while True:
        start = since if newest == since else _before(newest)
        for each in reversed(call(partial(_read, client, start))):
            if _state(each) not in seen:
                seen[_state(each)] = None
                yield each
            if each.changed_at and (newest is None or each.changed_at > newest):
                newest = each.changed_at
        while len(seen) > REMEMBERED:
            del seen[next(iter(seen))]
        time.sleep(every)


def _read(client: Client, since: datetime | None) -> list[Delivery]:
    return list(client.deliveries(since=since))


def _before(at: datetime | None) -> datetime | None:
    return at and at - timedelta(seconds=OVERLAP)


def _state(each: Delivery) -> tuple[object, ...]:
    id_ = each.attempts[-1].id if each.attempts else ""
    return each.owner, each.job, each.batch, each.event, id_, each.state, each.changed_at, len(each.attempts)


def _line(delivery: Delivery, *, for_people: bool) -> str:
    last, at = delivery.attempts[-1] if delivery.attempts else None, delivery.changed_at
    cells = (
        f"{at.astimezone():%H:%M:%S}" if at and for_people else at,
        delivery.job or delivery.batch,
        delivery.event,
        delivery.state,
        last and last.status,
        (last and last.error) or delivery.error,
    )
    texts = [clean("" if each is None else each) for each in cells]
    return "  ".join(filter(None, texts)) if for_people else "\t".join(texts)
