"""`boomerang-server audit`: whether what the design promises of the records holds, and mending what does not."""

import json
from collections.abc import Sequence

import click

from jobs.audit.audit import Audit, examine
from jobs.audit.findings import Finding
from jobs.audit.repair import RepairBusy, repair
from ops.commands.store import NOT_RUN, SOME, opened
from ops.commands.table import show_table


@click.command("audit")
@click.option("--repair", "mend", is_flag=True, help="Mend what is safe to mend, then look again.")
@click.option(
    "--pause", type=click.IntRange(0), default=0, metavar="MS", help="Rest after each 500 keys, for less load."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding, for machines.")
@click.pass_context
def audit_command(context: click.Context, *, mend: bool, pause: int, as_json: bool) -> None:
    """Check every invariant on the live system (BOOMERANG_REDIS_URL): by cursor, stopping nobody.

    Nothing is changed without --repair. Exit code 0: all hold (with --repair: everything is mended, and a second look
    finds nothing); 1: some are broken, and what to do about each is said; 2: they could not be checked, or not all.
    """
    with opened() as store:
        if mend:
            try:
                repaired = repair(store, pause=pause / 1000)
            except RepairBusy as error:
                click.echo(str(error), err=True)
                context.exit(NOT_RUN)
            mended, left = repaired.repaired, repaired.left
        else:
            mended, left = (), examine(store, pause=pause / 1000)
    _show(mended, left, as_json=as_json)
    context.exit(SOME if left.findings else NOT_RUN if left.unsure else 0)


def _show(mended: Sequence[Finding], left: Audit, *, as_json: bool) -> None:
    if as_json:
        for done, findings in ((True, mended), (False, left.findings)):
            for finding in findings:
                click.echo(json.dumps({**finding.shown(), "mended": done}))
        return
    if mended:
        _table([(each, "mended") for each in mended])
        click.echo("After that:" if left.findings else "Everything that was found is mended.")
    if left.findings:
        _table([(each, "by --repair" if each.repairable else each.remedy) for each in left.findings])
    for name in left.unsure:
        click.echo(f"Not compared, since too much moved: {name}. Try again later.", err=True)
    if not left.findings and not left.unsure:
        click.echo("Every invariant holds.")


def _table(rows: Sequence[tuple[Finding, str]]) -> None:
    show_table(
        ("rule", "where", "what was found", "what to do"), [(each.rule, each.id, each.detail, do) for each, do in rows]
    )
