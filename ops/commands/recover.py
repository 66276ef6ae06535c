"""`boomerang-server recover`: continue after the jobs' Redis lost data or was restored from a backup."""

import os
from collections.abc import Iterable
from contextlib import closing

import click

from jobs.errors import StoreUnavailable
from jobs.settings import Settings
from jobs.store.installation import Sighting, Standing, judge
from jobs.store.witness import Witness
from ops.commands.help_text import examples
from ops.commands.store import open_store
from ops.commands.terminal import echo


@click.command(
    "recover",
    short_help="Continue after Redis lost data.",
    epilog=examples("boomerang-server recover --show", "boomerang-server recover --also-new 24"),
)
@click.option(
    "--also-new",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="HOURS",
    help="Also look up jobs accepted within the next HOURS: producers may enqueue lost jobs again.",
)
@click.option("--show", is_flag=True, help="Only show what is expected and what Redis holds. Change nothing.")
def recover(*, also_new: float, show: bool) -> None:
    """Accept the jobs that Redis holds now, and have each unfinished one looked up before it is sent.

    Run this when the jobs' Redis (BOOMERANG_REDIS_URL) lost data or was restored from a backup: until then the service
    accepts no work. An empty Redis becomes a new installation. A restart or failover that lost nothing needs no
    command. Running it at any other time is safe and only costs look-ups.
    """
    with open_store() as store:
        witnessed = _witnessed(Settings.from_env(os.environ))
        there = store.continuity.standing(witnessed)
        known = [*([there.expected] if there.expected else []), *witnessed]
        _show(there, known, there.lost or judge(there, witnessed).reason)
        if show:
            return
        epoch = store.continuity.recover(also_new * 3600, _of_this(there, known))
    echo(
        f"Epoch {epoch.number}: jobs accepted before {epoch.lookup_before:%Y-%m-%d %H:%M:%S} UTC are looked up before "
        f"they are sent. Look-ups count only after {store.context.settings.submit_lease:g} s "
        "(BOOMERANG_SUBMIT_LEASE), because until then a worker may still be sending jobs that Redis lost."
    )


def _witnessed(settings: Settings) -> tuple[Sighting, ...]:
    """Return what workers noted outside the jobs' Redis, if this command can read it."""
    witness = Witness.of(settings)
    if witness is None:
        return ()
    with closing(witness):
        try:
            return witness.read()
        except StoreUnavailable as error:
            echo(f"The witness (BOOMERANG_BROKER_URL) cannot be read: {error}", err=True)
            return ()


def _of_this(there: Standing, known: Iterable[Sighting]) -> list[Sighting]:
    """Select what is known of the present installation; everything if there is none."""
    return [each for each in known if there.installation in ("", each.installation)]


def _show(there: Standing, known: Iterable[Sighting], reason: str) -> None:
    expected = max(known, key=lambda each: each.at, default=None)
    holds = there.sighting.described if there.installation else "no installation"
    echo(f"Expected: {expected.described if expected else 'unknown, because no worker has seen jobs'}.")
    echo(f"Present:  {holds}{'' if there.has_jobs else ', no jobs'}.")
    echo(reason + "." if reason else "No loss is known.")
