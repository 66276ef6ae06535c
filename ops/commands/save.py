"""`boomerang-server save`: have results saved that are not."""

import click

from jobs.store.outcomes.deliveries import ResaveOutcome
from ops.commands.audited import record_jobs
from ops.commands.help_text import examples
from ops.commands.settle import ALL
from ops.commands.store import PROBLEMS, jobs_named, open_store, owner_option
from ops.commands.terminal import echo


@click.command(
    "save",
    short_help="Save results that could not be saved.",
    epilog=examples("boomerang-server save dawn-1", "boomerang-server save --all-unsaved --dry-run"),
)
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all-unsaved", is_flag=True, help="Save the results of all jobs that boomerang-server stuck lists.")
@click.option("--again", is_flag=True, help="Save results anew that are saved already, because the store lost them.")
@owner_option
@click.option("--dry-run", is_flag=True, help="Only list the jobs.")
@click.pass_context
def save(
    context: click.Context, ids: tuple[str, ...], *, all_unsaved: bool, again: bool, owner: str | None, dry_run: bool
) -> None:
    """Have workers fetch the results of jobs from the provider, and save them to BOOMERANG_RESULT_STORE.

    The command ends at once; workers save the results in the background, with as many attempts as for new ones. Nothing
    is generated again. What the provider has deleted cannot be saved.

    Exit code 0: all are saved or will be; 1: some have no results, or do not exist; 2: the command could not run.
    """
    if bool(ids) == all_unsaved:
        raise click.UsageError("Give either job ids or --all-unsaved.")
    with open_store() as store:
        if store.context.configured.result_store is None and not store.liveness.pulse().saves:
            raise click.UsageError("No process of the service has a result store: set BOOMERANG_RESULT_STORE first.")
        unsaved = [job_id for job_id, _ in store.manual.stuck(0.0, ALL).unsaved.named] if all_unsaved else []
        wanted = unsaved or jobs_named(store, ids, owner)
        if dry_run:
            for job_id in wanted:
                echo(job_id)
            echo(f"Jobs whose results would be saved: {len(wanted)}.", err=True)
            context.exit(0)
        outcomes = store.saves.retry(wanted, again=again)
        record_jobs(store, "save", [each for each, it in outcomes.items() if it is ResaveOutcome.OWED])
    for job_id, outcome in outcomes.items():
        echo(f"{job_id}: {_ANSWERS[outcome]}")
    good = sum(outcome in {ResaveOutcome.OWED, ResaveOutcome.SAVED} for outcome in outcomes.values())
    echo(f"Results saved or to be saved: {good} of {len(outcomes)}.", err=True)
    context.exit(0 if good == len(outcomes) else PROBLEMS)


_ANSWERS = {
    ResaveOutcome.OWED: "its results will be saved",
    ResaveOutcome.SAVED: "its results are saved already",
    ResaveOutcome.NOTHING: "it has no results",
    ResaveOutcome.UNKNOWN: "no such job",
    ResaveOutcome.DAMAGED: "its record is damaged: run boomerang-server audit",
    ResaveOutcome.NEWER: "its record was written by a newer version of Boomerang: use the command of that version",
}
