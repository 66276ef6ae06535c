"""`boomerang spend`."""

from datetime import datetime

import click

from boomerang_client.cli.render import table
from boomerang_client.cli.screen import Screen, clean, json_option

BY = ("day", "key", "batch", "model", "lane")
_day = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--by", type=click.Choice(BY), default="day", show_default=True, help="One line for each.")
@click.option("--from", "start", type=_day, metavar="DAY", help="The first day, as 2026-01-31, in UTC.")
@click.option("--to", "end", type=_day, metavar="DAY", help="The last day.")
@click.option("--producer", metavar="NAME", help="Only of the jobs that came with this key, by its name.")
@click.option("--batch", metavar="BATCH", help="Only of this batch.")
@click.option("--model", metavar="MODEL", help="Only of this model.")
@click.option("--lane", metavar="LANE", help="Only of what went through this lane.")
@json_option
@click.pass_obj
def spend(
    screen: Screen,
    /,
    *,
    by: str,
    start: datetime | None,
    end: datetime | None,
    producer: str | None,
    **only: str | None,
) -> None:
    """Show what was spent, in US dollars. Without a terminal: one line each, tabs between the columns."""
    first, last = start.date() if start else None, end.date() if end else None
    spent = screen.client().spend(by, first, last, key=producer, **only)
    if screen.as_json:
        screen.document(spent.raw)
        return
    rows = [[clean(row.name), str(row.jobs), str(row.cost)] for row in spent.rows]
    if screen.out.is_terminal:
        screen.out.print(table((by, "jobs", "USD"), [*rows, ["all", str(spent.jobs), str(spent.cost)]]))
        return
    for row in rows:
        click.echo("\t".join(row))
