"""`boomerang-server recover`: what to do when the jobs' Redis was replaced by older data."""

import os

import click

from jobs.errors import SettingsInvalid, StoreUnavailable
from jobs.settings import Settings
from jobs.store import Store, connect


@click.command("recover")
@click.option(
    "--also-new",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="HOURS",
    help="For so many hours, doubt jobs that are accepted from now on too: producers may enqueue again what was lost.",
)
@click.pass_context
def recover(context: click.Context, *, also_new: float) -> None:
    """Have every unfinished job looked up at the provider before it is sent (again).

    For a Redis (BOOMERANG_REDIS_URL) that was restored from a copy, or lost all. A restart and a failover are noticed
    without it. Safe to run at any time; to run it twice only costs more looks.
    """
    try:
        settings = Settings.from_env(os.environ)
        client = connect(settings.redis_url)
        try:
            epoch = Store(client, settings).recover(also_new * 3600)
        finally:
            client.close()
    except (SettingsInvalid, StoreUnavailable) as error:
        click.echo(str(error), err=True)
        context.exit(2)
    click.echo(
        f"Epoch {epoch.number}: jobs accepted before {epoch.doubted_before:%Y-%m-%d %H:%M:%S} UTC are looked up before "
        f"they are sent. No look counts for the first {settings.submit_lease:g} s (BOOMERANG_SUBMIT_LEASE), in which a "
        "worker may still be sending what Redis has forgotten."
    )
