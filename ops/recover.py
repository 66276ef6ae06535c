"""`boomerang-server recover`: what to do when the jobs' Redis was replaced by older data."""

import click

from ops.opened import opened


@click.command("recover")
@click.option(
    "--also-new",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="HOURS",
    help="For so many hours, doubt jobs that are accepted from now on too: producers may enqueue again what was lost.",
)
def recover(*, also_new: float) -> None:
    """Have every unfinished job looked up at the provider before it is sent (again).

    For a Redis (BOOMERANG_REDIS_URL) that was restored from a copy, or lost all. A restart and a failover are noticed
    without it. Safe to run at any time; to run it twice only costs more looks.
    """
    with opened() as store:
        epoch = store.recover(also_new * 3600)
    click.echo(
        f"Epoch {epoch.number}: jobs accepted before {epoch.doubted_before:%Y-%m-%d %H:%M:%S} UTC are looked up before "
        f"they are sent. No look counts for the first {store.settings.submit_lease:g} s (BOOMERANG_SUBMIT_LEASE), "
        "in which a worker may still be sending what Redis has forgotten."
    )
