"""`boomerang-server recover`: what to do when the jobs' Redis lost its data, or was replaced by older data."""

import os
from collections.abc import Iterable
from contextlib import closing

import click

from jobs.errors import StoreUnavailable
from jobs.settings import Settings
from jobs.store.installation import Sighting, Standing, judge
from jobs.store.witness import Witness
from ops.commands.store import opened


@click.command("recover")
@click.option(
    "--also-new",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="HOURS",
    help="For so many hours, doubt jobs that are accepted from now on too: producers may enqueue again what was lost.",
)
@click.option("--show", is_flag=True, help="Only show what is expected and what is there; change nothing.")
def recover(*, also_new: float, show: bool) -> None:
    """Accept what Redis holds as the truth, and have every unfinished job looked up before it is sent (again).

    For a Redis (BOOMERANG_REDIS_URL) that lost its data or was restored from a copy: the service takes no work in until
    this is done. An empty one begins with no jobs. A restart and a failover that lost nothing need no command. Safe to
    run at any time; to run it twice only costs more looks.
    """
    with opened() as store:
        witnessed = _witnessed(Settings.from_env(os.environ))
        there = store.continuity.standing(witnessed)
        known = [*([there.expected] if there.expected else []), *witnessed]
        _show(there, known, there.lost or judge(there, witnessed).reason)
        if show:
            return
        epoch = store.continuity.recover(also_new * 3600, _of_this(there, known))
    click.echo(
        f"Epoch {epoch.number}: jobs accepted before {epoch.doubted_before:%Y-%m-%d %H:%M:%S} UTC are looked up before "
        f"they are sent. No look counts for the first {store.context.settings.submit_lease:g} s "
        "(BOOMERANG_SUBMIT_LEASE), in which a worker may still be sending what Redis has forgotten."
    )


def _witnessed(settings: Settings) -> tuple[Sighting, ...]:
    """What workers noted outside of the jobs' Redis, where this command may read it."""
    witness = Witness.of(settings)
    if witness is None:
        return ()
    with closing(witness):
        try:
            return witness.read()
        except StoreUnavailable as error:
            click.echo(f"What the workers saw (BOOMERANG_BROKER_URL) cannot be read: {error}", err=True)
            return ()


def _of_this(there: Standing, known: Iterable[Sighting]) -> list[Sighting]:
    """What is known of the installation that is there; of all where there is none."""
    return [each for each in known if there.installation in ("", each.installation)]


def _show(there: Standing, known: Iterable[Sighting], reason: str) -> None:
    expected = max(known, key=lambda each: each.at, default=None)
    holds = there.sighting.described if there.installation else "no record of an installation"
    click.echo(f"Expected: {expected.described if expected else 'unknown, no worker has seen any jobs'}.")
    click.echo(f"There:    {holds}{'' if there.has_jobs else ', no jobs'}.")
    click.echo(reason + "." if reason else "Nothing is known to be lost.")
