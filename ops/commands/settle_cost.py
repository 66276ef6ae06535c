"""`boomerang-server settle-cost`: record what jobs cost whose cost the provider did not report as an amount."""

import getpass
import logging
from collections.abc import Iterator
from decimal import Decimal

import click

from jobs.errors import RecordDamaged
from jobs.job import Job
from jobs.producer_ids import internal_id
from jobs.result import read_cost
from jobs.store.chunks import chunks
from jobs.store.outcomes.repairs import SettleCostOutcome
from jobs.store.store import Store
from ops.commands.audited import record_jobs
from ops.commands.help_text import examples
from ops.commands.store import PROBLEMS, jobs_named, open_store, owner_option
from ops.commands.terminal import echo

log = logging.getLogger(__name__)
#: Greater than any number of such jobs.
ALL = 1_000_000_000


def parse_usd(_context: click.Context, _parameter: click.Parameter, text: str) -> Decimal:
    """Read an amount in USD of at most nine decimals. Raises `click.BadParameter`."""
    try:
        return read_cost(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(
    "settle-cost",
    short_help="Record what jobs of unknown cost did cost.",
    epilog=examples(
        "boomerang-server settle-cost dawn-1 --usd 0.0065",
        "boomerang-server settle-cost --batch boats --usd 0.0065 --dry-run",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--batch", metavar="ID", help="Settle all jobs of unknown cost in this batch.")
@click.option("--all", "everything", is_flag=True, help="Settle all jobs of unknown cost.")
@owner_option
@click.option("--usd", required=True, callback=parse_usd, metavar="AMOUNT", help="What each of them cost, in USD.")
@click.option("--dry-run", is_flag=True, help="Only list the jobs.")
@click.option(
    "--by", default=getpass.getuser, metavar="NAME", help="Who decides, for the log.  [default: the current user]"
)
@click.pass_context
def settle_cost(
    context: click.Context,
    *,
    ids: tuple[str, ...],
    batch: str | None,
    everything: bool,
    owner: str | None,
    usd: Decimal,
    dry_run: bool,
    by: str,
) -> None:
    """Record what jobs cost whose cost is unknown, as the provider's bill says.

    The amount counts on the day of the result. A batch that is paused because of such jobs continues when all of them
    are settled; a key or a lane with a daily budget continues within a minute.

    Exit code 0: all are settled; 1: some are not, because their cost is known or there is no such job; 2: the command
    could not run.
    """
    if sum(map(bool, (ids, batch, everything))) != 1:
        raise click.UsageError("Give either job ids, --batch or --all.")
    with open_store() as store:
        ids = tuple(jobs_named(store, ids, owner))
        if batch and owner:
            batch = store.batches.find(batch, owner) or internal_id(batch, owner)
        found = {job.id: job for job in _chosen(store, ids, batch)}
        for job in found.values():
            sent = f"the provider sent {job.unknown_cost!r}" if job.unknown_cost else "the provider sent no amount"
            echo(f"{job.id}: {job.state}, batch {job.batch or '-'}: {sent}")
        missing = [job_id for job_id in ids if job_id not in found]
        for job_id in missing:
            echo(f"{job_id}: its cost is not unknown, or there is no such job")
        if dry_run:
            echo(f"To be settled at {usd:f} USD each: {len(found)}.")
            context.exit(PROBLEMS if missing else 0)
        settled = [job_id for job_id in found if _settle(store, job_id, usd, by)]
        record_jobs(store, "settle-cost", settled, by=by, usd=f"{usd:f}")
    echo(f"Settled at {usd:f} USD each: {len(settled)} of {len(found)}.")
    context.exit(0 if len(settled) == len(found) and not missing else PROBLEMS)


def _chosen(store: Store, ids: tuple[str, ...], batch: str | None) -> Iterator[Job]:
    named = ids or tuple(job_id for job_id, _ in store.manual.stuck(0.0, ALL).unknown_costs.named)
    for some in chunks(iter(named)):
        for job in store.jobs.get_many(some):
            if job and job.unknown_cost is not None and batch in (None, job.batch):
                yield job


def _settle(store: Store, job_id: str, usd: Decimal, by: str) -> bool:
    try:
        outcome = store.manual.settle_cost(job_id, usd, by=by).outcome
    except RecordDamaged as error:
        echo(f"{job_id}: not settled: {error}")
        return False
    if outcome is not SettleCostOutcome.SETTLED:
        echo(f"{job_id}: not settled: another process has changed it")
        return False
    log.warning("job %s: its cost is settled at %s USD by %s", job_id, usd, by)
    return True
