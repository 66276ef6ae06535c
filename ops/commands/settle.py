"""`boomerang-server settle` and `redeliver`: what only a person can settle."""

import getpass
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from jobs.job import Job
from jobs.states import State
from jobs.store.manual import Verdict
from jobs.store.store import Store
from ops.commands.durations import duration, spoken
from ops.commands.store import NOT_RUN, SOME, opened

log = logging.getLogger(__name__)

#: Jobs read in one round trip.
_STEP = 200
#: More than there ever are.
ALL = 1_000_000_000


@click.command("settle")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--sent", "task_id", metavar="TASK_ID", help="The provider has it, under this id: polled from now on.")
@click.option(
    "--not-sent",
    "verdict",
    flag_value=Verdict.NOT_SENT,
    help="The provider has not got it: sent again, under the same external id.",
)
@click.option(
    "--failed", "verdict", flag_value=Verdict.FAILED, help="Given up: it ends as failed, and nothing is sent again."
)
@click.option("--all-in-doubt-longer-than", "all_longer", type=duration, help="All jobs that are, such as 1h.")
@click.option("--lane", help="Only jobs of this lane.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", default=getpass.getuser, help="Who says so. Default: the user of this machine.")
@click.pass_context
def settle(
    context: click.Context,
    *,
    ids: tuple[str, ...],
    task_id: str | None,
    verdict: Verdict | None,
    all_longer: float | None,
    lane: str | None,
    dry_run: bool,
    yes: bool,
    by: str,
) -> None:
    """Say what became of jobs in doubt, after a look at the provider's console.

    Exit code 0: all are settled; 1: some are not, or were not in doubt any more; 2: nothing could be done.
    """
    if bool(task_id) == bool(verdict):
        raise click.UsageError("Say one of --sent TASK_ID, --not-sent and --failed.")
    said = Verdict(verdict or Verdict.SENT)
    if bool(ids) == (all_longer is not None):
        raise click.UsageError("Name jobs, or all with --all-in-doubt-longer-than; not both.")
    if task_id and len(ids) != 1:
        raise click.UsageError("--sent is said of one job.")
    with opened() as store:
        now = store.manual.stuck(0.0, 0).now
        chosen, missing = _chosen(store, ids, all_longer, lane)
        if all_longer is not None and said is Verdict.NOT_SENT:
            # Whoever wants to send again what the provider says it has must name it.
            for job in (job for job in chosen if job.exists):
                click.echo(f"{job.id}: left out, since the provider has said that it has it; name it if it has not")
            chosen = [job for job in chosen if not job.exists]
        for job in chosen:
            click.echo(_line(job, now))
        for job_id in missing:
            click.echo(f"{job_id}: not in doubt, or there is no such job")
        if dry_run or not chosen:
            click.echo(f"{len(chosen)} would be settled as {said}." if dry_run else "Nothing to settle.")
            context.exit(SOME if missing else 0)
        _ask(context, said, len(chosen), yes=yes)
        done = sum(_settled(store, job, said, task_id or "", by) for job in chosen)
    click.echo(f"{done} settled as {said}.")
    context.exit(0 if done == len(chosen) and not missing else SOME)


@click.command("redeliver")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All deliveries that were given up.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@click.pass_context
def redeliver(context: click.Context, ids: tuple[str, ...], *, everything: bool, dry_run: bool) -> None:
    """Make deliveries again that were given up, as often and as patiently as at first.

    Exit code 0: all are owed again; 1: some were not given up, or there is no such job; 2: nothing could be done.
    """
    if bool(ids) == everything:
        raise click.UsageError("Name jobs, or --all; not both.")
    with opened() as store:
        given_up = [job_id for job_id, _ in store.manual.stuck(0.0, ALL).undelivered.named]
        wanted = given_up if everything else list(ids)
        if dry_run:
            known = set(given_up)
            said = {job_id: "owed" if job_id in known else "nothing" for job_id in wanted}
        else:
            said = store.deliveries.retry(wanted)
    for job_id, word in said.items():
        click.echo(f"{job_id}: {_REDELIVERED[word]}")
    context.exit(0 if all(word == "owed" for word in said.values()) else SOME)


_REDELIVERED = {
    "owed": "owed again",
    "nothing": "no delivery of it was given up",
    "unknown": "there is no such job",
    "damaged": "its record is damaged: boomerang-server audit says how",
    "newer": "its record was written by a later version of Boomerang: use that version's command",
}
_RISKS = {
    Verdict.SENT: "Where the provider does not tell whose task that is, another task's result would become this job's.",
    Verdict.NOT_SENT: "Each is sent again under the same external id. What the provider has after all may be paid for "
    "TWICE: look for each external id in its console first.",
    Verdict.FAILED: "Each ends as failed and is not sent again. What the provider has after all is paid for, and its "
    "result is not taken any more.",
}


def _chosen(
    store: Store, ids: Sequence[str], all_longer: float | None, lane: str | None
) -> tuple[list[Job], list[str]]:
    """The jobs in doubt that are meant, the oldest doubt first, and the ids that are not."""
    if all_longer is not None:
        ids = [job_id for job_id, _ in store.manual.stuck(all_longer, ALL).doubts.named]
    chosen: dict[str, Job] = {}
    for start in range(0, len(ids), _STEP):
        for job in store.jobs.get_many(ids[start : start + _STEP]):
            if job and job.at_provider is State.IN_DOUBT and lane in (None, job.lane):
                chosen[job.id] = job
    missing = [job_id for job_id in ids if job_id not in chosen] if all_longer is None else []
    return list(chosen.values()), missing


def _line(job: Job, now: datetime) -> str:
    age = spoken((now - job.doubt_since).total_seconds()) if job.doubt_since else "unknown"
    known = "; the provider has said that it has it" if job.exists else ""
    sent_as = "" if job.external_task_id == job.id else f", sent as {job.external_task_id}"
    return f"{job.id}: {job.state}{sent_as}, lane {job.lane}, in doubt for {age}: {job.reason or ''}{known}"


def _ask(context: click.Context, verdict: Verdict, many: int, *, yes: bool) -> None:
    click.echo(_RISKS[verdict])
    if yes:
        return
    if not sys.stdin.isatty():
        click.echo("Nobody can be asked here: say --yes.", err=True)
        context.exit(NOT_RUN)
    if not click.confirm(f"Settle {many} as {verdict}?"):
        context.exit(NOT_RUN)


def _settled(store: Store, job: Job, verdict: Verdict, task_id: str, by: str) -> bool:
    result = store.manual.settle(job, verdict, task_id=task_id, by=by)
    if result.outcome in ("settled", "over"):
        what = f"{verdict} {task_id}".strip()
        since = job.doubt_since or datetime.fromtimestamp(0, UTC)
        log.warning(
            "job %s: settled by hand by %s as %s, now %s; it was in doubt since %s: %s",
            *(job.id, by, what, result.state, since.isoformat(), job.reason or ""),
        )
        return True
    click.echo(f"{job.id}: not in that doubt any more; look again")
    return False
