"""`boomerang audit-trail`."""

from datetime import datetime

import click

from boomerang_client.audit_records import AuditEntry
from boomerang_client.cli.options import examples, json_option, moment
from boomerang_client.cli.screen import Screen
from boomerang_client.cli.tables import Column, print_table

_COLUMNS: tuple[Column[AuditEntry], ...] = (
    Column(name="time", plain=lambda row: row.at),
    Column(name="by", plain=lambda row: row.by),
    Column(name="key", plain=lambda row: row.key, rank=3),
    Column(name="operation", plain=lambda row: row.operation),
    Column(name="via", plain=lambda row: row.via, rank=5),
    Column(name="of", plain=lambda row: row.job or row.batch, rank=1),
    Column(name="affected", plain=lambda row: row.affected, rank=2, right=True),
    Column(name="status", plain=lambda row: row.status, rank=1, right=True),
    Column(name="outcome", plain=lambda row: row.outcome, rank=4),
    Column(
        name="details", plain=lambda row: " ".join(f"{name}={value}" for name, value in row.details.items()), rank=6
    ),
    Column(name="request", plain=lambda row: row.request, rank=7),
)


@click.command(
    "audit-trail",
    short_help="Show who changed what.",
    epilog=examples(
        "boomerang audit-trail --since 2d",
        "boomerang audit-trail --id boats --operation cancel",
        "boomerang audit-trail --key 1ca413871420 --json | jq .operation",
    ),
)
@click.option("--since", type=moment, metavar="TIME", help="Only what was done since then: 2026-01-31, or 2h.")
@click.option("--until", type=moment, metavar="TIME", help="Only what was done before then.")
@click.option("--operation", metavar="PART", help="Only operations whose name contains this, such as cancel.")
@click.option("--key", metavar="KEY", help="Only what this key did: its id or name.")
@click.option("--id", metavar="ID", help="Only what names this job, batch, bulk action, lane, key or request.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="NUMBER", help="At most this many."
)
@json_option
@click.pass_obj
def audit_trail(
    screen: Screen,
    *,
    since: datetime | None,
    until: datetime | None,
    operation: str | None,
    key: str | None,
    id: str | None,  # noqa: A002 -- the option's name
    limit: int,
) -> None:
    """Show what was changed and by which key, newest first: batches created, actions, and changes of limits and keys.

    You see what the keys of your name did. A key with the scope `admin` sees what everybody did.

    In a pipe: one line each, with tabs between time, name and id of the key, operation, api or page, job or batch,
    number affected, status, outcome, details and id of the request.
    """
    found = screen.client().audit_trail(since=since, until=until, operation=operation, key=key, id=id, limit=limit)
    if screen.as_json:
        for each in found:
            screen.result_json(each.raw)
        return
    print_table(screen, _COLUMNS, found, "There are no such entries.")
