"""`boomerang-server settle` and `redeliver`: decisions that only an operator can make."""

import getpass
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from jobs.job import Job
from jobs.states import State
from jobs.store.manual import RISKS, Verdict
from jobs.store.outcomes.deliveries import RedeliverOutcome
from jobs.store.outcomes.repairs import SettleOutcome
from jobs.store.store import Store
from ops.commands.audited import record_jobs
from ops.commands.durations import format_duration, parse_duration
from ops.commands.help_text import examples
from ops.commands.store import NOT_RUN, PROBLEMS, jobs_named, open_store, owner_option
from ops.commands.terminal import echo

log = logging.getLogger(__name__)

#: Jobs read in one round trip.
_STEP = 200
#: Greater than any number of stuck jobs.
ALL = 1_000_000_000


@click.command(
    "settle",
    short_help="Settle jobs in doubt by hand.",
    epilog=examples(
        "boomerang-server settle dawn-1 --sent task-9f2c",
        "boomerang-server settle --all-in-doubt-longer-than 2h --not-sent --dry-run",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option(
    "--sent",
    "task_id",
    metavar="TASK_ID",
    help="The provider has the job's task, under TASK_ID. The job is polled from now on.",
)
@click.option(
    "--not-sent",
    "verdict",
    flag_value=Verdict.NOT_SENT,
    help="The provider has no such task. The job is sent again under the same external id.",
)
@click.option(
    "--failed", "verdict", flag_value=Verdict.FAILED, help="Give up. The job ends as failed and is not sent again."
)
@click.option(
    "--all-in-doubt-longer-than",
    "all_longer",
    type=parse_duration,
    metavar="DURATION",
    help="Settle all jobs that are in doubt for longer than this, such as 1h.",
)
@click.option("--lane", metavar="NAME", help="Settle only jobs of this lane.")
@owner_option
@click.option("--dry-run", is_flag=True, help="Only list the jobs that would be settled.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--by", default=getpass.getuser, metavar="NAME", help="Who decides, for the log.  [default: the current user]"
)
@click.pass_context
def settle(
    context: click.Context,
    *,
    ids: tuple[str, ...],
    task_id: str | None,
    verdict: Verdict | None,
    all_longer: float | None,
    lane: str | None,
    owner: str | None,
    dry_run: bool,
    yes: bool,
    by: str,
) -> None:
    """Settle jobs in doubt by hand, after looking them up in the provider's console.

    Give either job ids or --all-in-doubt-longer-than, and one of --sent, --not-sent and --failed.

    Exit code 0: all are settled; 1: some are not, for instance because they are no longer in doubt; 2: the command
    could not run.
    """
    if bool(task_id) == bool(verdict):
        raise click.UsageError("Give exactly one of --sent TASK_ID, --not-sent and --failed.")
    decision = Verdict(verdict or Verdict.SENT)
    if bool(ids) == (all_longer is not None):
        raise click.UsageError("Give either job ids or --all-in-doubt-longer-than.")
    if task_id and len(ids) != 1:
        raise click.UsageError(f"--sent takes exactly one job id, not {len(ids)}.")
    with open_store() as store:
        now = store.manual.stuck(0.0, 0).now
        chosen, missing = _chosen(store, jobs_named(store, ids, owner), all_longer, lane)
        if all_longer is not None and decision is Verdict.NOT_SENT:
            # What the provider has must not be sent again by a command that names no job.
            for job in (job for job in chosen if job.exists):
                echo(
                    f"{job.id}: skipped, because the provider reported that it has the task. Name it to send it again."
                )
            chosen = [job for job in chosen if not job.exists]
        for job in chosen:
            echo(_line(job, now))
        for job_id in missing:
            echo(f"{job_id}: neither in doubt nor without a readable answer, or no such job")
        if dry_run or not chosen:
            echo(f"To be settled as {decision}: {len(chosen)}." if dry_run else "No job was settled.")
            context.exit(PROBLEMS if missing else 0)
        _confirm(context, decision, len(chosen), yes=yes)
        settled = [job.id for job in chosen if _settle_one(store, job, decision, task_id or "", by)]
        record_jobs(store, "settle", settled, by=by, verdict=decision, task_id=task_id)
    echo(f"Settled as {decision}: {len(settled)} of {len(chosen)}.")
    context.exit(0 if len(settled) == len(chosen) and not missing else PROBLEMS)


@click.command(
    "redeliver",
    short_help="Repeat deliveries that were given up.",
    epilog=examples("boomerang-server redeliver dawn-1", "boomerang-server redeliver --all --dry-run"),
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Repeat all deliveries that were given up.")
@owner_option
@click.option("--dry-run", is_flag=True, help="Only list the jobs.")
@click.pass_context
def redeliver(
    context: click.Context, ids: tuple[str, ...], *, everything: bool, owner: str | None, dry_run: bool
) -> None:
    """Retry deliveries that were given up, as often as new ones.

    Exit code 0: all will be repeated; 1: some were not given up, or do not exist; 2: the command could not run.
    """
    if bool(ids) == everything:
        raise click.UsageError("Give either job ids or --all.")
    with open_store() as store:
        given_up = [job_id for job_id, _ in store.manual.stuck(0.0, ALL).undelivered.named]
        wanted = given_up if everything else jobs_named(store, ids, owner)
        if dry_run:
            known = set(given_up)
            outcomes = {
                job_id: RedeliverOutcome.OWED if job_id in known else RedeliverOutcome.NOTHING for job_id in wanted
            }
        else:
            outcomes = store.deliveries.retry(wanted)
            record_jobs(store, "redeliver", [each for each, it in outcomes.items() if it is RedeliverOutcome.OWED])
    for job_id, outcome in outcomes.items():
        echo(f"{job_id}: {_REDELIVERED[outcome]}")
    count = list(outcomes.values()).count(RedeliverOutcome.OWED)
    echo(f"Deliveries to be repeated: {count} of {len(outcomes)}.", err=True)
    context.exit(0 if count == len(outcomes) else PROBLEMS)


_REDELIVERED = {
    RedeliverOutcome.OWED: "delivery to be repeated",
    RedeliverOutcome.NOTHING: "no delivery was given up",
    RedeliverOutcome.UNKNOWN: "no such job",
    RedeliverOutcome.DAMAGED: "its record is damaged: run boomerang-server audit",
    RedeliverOutcome.NEWER: "its record was written by a newer version of Boomerang: use the command of that version",
}


def _chosen(
    store: Store, ids: Sequence[str], all_longer: float | None, lane: str | None
) -> tuple[list[Job], list[str]]:
    """Return the selected jobs that an operator may settle, the longest in doubt first, and the other ids."""
    if all_longer is not None:
        ids = [job_id for job_id, _ in store.manual.stuck(all_longer, ALL).doubts.named]
    chosen: dict[str, Job] = {}
    for start in range(0, len(ids), _STEP):
        for job in store.jobs.get_many(ids[start : start + _STEP]):
            if job and job.unknown_since and lane in (None, job.lane):
                chosen[job.id] = job
    missing = [job_id for job_id in ids if job_id not in chosen] if all_longer is None else []
    return list(chosen.values()), missing


def _line(job: Job, now: datetime) -> str:
    age = format_duration((now - job.unknown_since).total_seconds()) if job.unknown_since else "unknown"
    problem = "in doubt" if job.at_provider is State.IN_DOUBT else "without a readable answer"
    known = "; the provider reported that it has the task" if job.exists else ""
    sent_as = "" if job.external_task_id == job.id else f", sent as {job.external_task_id}"
    return f"{job.id}: {job.state}{sent_as}, lane {job.lane}, {problem} for {age}: {job.reason or ''}{known}"


def _confirm(context: click.Context, verdict: Verdict, many: int, *, yes: bool) -> None:
    echo(RISKS[verdict])
    if yes:
        return
    if not sys.stdin.isatty():
        echo("Standard input is not a terminal, so you cannot confirm: add --yes.", err=True)
        context.exit(NOT_RUN)
    if not click.confirm(f"Settle as {verdict}: {many}. Continue?"):
        context.exit(NOT_RUN)


def _settle_one(store: Store, job: Job, verdict: Verdict, task_id: str, by: str) -> bool:
    result = store.manual.settle(job, verdict, task_id=task_id, by=by)
    if result.outcome in (SettleOutcome.SETTLED, SettleOutcome.OVER):
        what = f"{verdict} {task_id}".strip()
        since = job.unknown_since or datetime.fromtimestamp(0, UTC)
        log.warning(
            "job %s: settled by hand by %s as %s, now %s; its outcome was unknown since %s: %s",
            *(job.id, by, what, result.state, since.isoformat(), job.reason or ""),
        )
        return True
    echo(f"{job.id}: changed in the meantime, not settled. Run boomerang-server stuck again.")
    return False
