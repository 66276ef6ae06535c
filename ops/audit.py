"""`boomerang-server audit`: whether what the design promises of the records holds, on the running system."""

import json
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from jobs.audit import audit
from ops.opened import opened


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding, for machines.")
@click.pass_context
def audit_command(context: click.Context, *, as_json: bool) -> None:
    """Check every invariant on the live system (BOOMERANG_REDIS_URL): by cursor, stopping nobody, changing nothing.

    Exit code 0: all hold; 1: some are broken, and what to do about each is said; 2: they could not be checked.
    """
    with opened(context) as store:
        findings = audit(store)
    if as_json:
        for finding in findings:
            click.echo(json.dumps(asdict(finding)))
    elif findings:
        table = Table("rule", "where", "what was found", "what to do")
        for finding in findings:
            table.add_row(finding.rule, finding.id, finding.detail, finding.remedy)
        Console().print(table)
    else:
        click.echo("Every invariant holds.")
    context.exit(1 if findings else 0)
