"""`boomerang-server audit`: check the invariants of the stored records, and repair what can be repaired."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import click

from jobs.audit.audit import Audit, examine
from jobs.audit.findings import Finding
from jobs.audit.repair import RepairBusy, repair
from jobs.audit.results import result_findings
from ops.commands.help_text import examples
from ops.commands.results import result_store_of
from ops.commands.store import NOT_RUN, PROBLEMS, open_store
from ops.commands.table import show_table
from ops.commands.terminal import echo

#: Findings about results that are listed: a store that is lost has one for each object.
MOST_OF_RESULTS = 1000


@click.command(
    "audit",
    short_help="Check every invariant of the stored records.",
    epilog=examples(
        "boomerang-server audit",
        "boomerang-server audit --results",
        "boomerang-server audit --repair --pause 5",
    ),
)
@click.option("--repair", "with_repair", is_flag=True, help="Repair what is safe to repair, then check again.")
@click.option(
    "--pause", type=click.IntRange(0), default=0, metavar="MS", help="Milliseconds to wait after every 500 keys."
)
@click.option(
    "--results",
    "with_results",
    is_flag=True,
    help="Compare the result store (BOOMERANG_RESULT_STORE) with the records and sidecars of saved jobs, too.",
)
@click.option("--contents", is_flag=True, help="With --results: read every saved object, and compare its hash.")
@click.option("--json", "as_json", is_flag=True, help="Print each finding as one JSON object per line.")
@click.pass_context
def audit_command(
    context: click.Context, *, with_repair: bool, pause: int, with_results: bool, contents: bool, as_json: bool
) -> None:
    """Check every invariant of the records in Redis (BOOMERANG_REDIS_URL).

    The service keeps running: the audit walks through the keys in small steps. Without --repair it changes nothing.

    Exit code 0: every invariant holds, if necessary after the repair; 1: some are broken, each with a remedy; 2: not
    everything could be checked.
    """
    with open_store() as store:
        if with_repair:
            try:
                repaired = repair(store, pause=pause / 1000)
            except RepairBusy as error:
                echo(str(error), err=True)
                context.exit(NOT_RUN)
            done, left = repaired.repaired, repaired.left
        else:
            done, left = (), examine(store, pause=pause / 1000)
        if with_results:
            found = result_findings(store, result_store_of(store), contents=contents)
            left = replace(left, findings=(*left.findings, *islice(found, MOST_OF_RESULTS)))
    _show(done, left, as_json=as_json)
    context.exit(PROBLEMS if left.findings else NOT_RUN if left.unsure else 0)


def _show(repaired: Sequence[Finding], left: Audit, *, as_json: bool) -> None:
    if as_json:
        for done, findings in ((True, repaired), (False, left.findings)):
            for finding in findings:
                echo(json.dumps({**finding.to_json(), "repaired": done}))
        return
    if repaired:
        _table([(each, "repaired") for each in repaired])
        echo("Still broken:" if left.findings else "Every finding is repaired.")
    if left.findings:
        _table([(each, "run audit --repair" if each.repairable else each.remedy) for each in left.findings])
    for name in left.unsure:
        echo(f"Not checked, because it changed too fast: {name}. Run the audit again later.", err=True)
    if not left.findings and not left.unsure:
        echo("Every invariant holds.")


def _table(rows: Sequence[tuple[Finding, str]]) -> None:
    show_table(("rule", "id", "detail", "remedy"), [(each.rule, each.id, each.detail, do) for each, do in rows])
