"""`boomerang spend`."""

from datetime import datetime

import click

from boomerang_client.cli.options import examples, json_option
from boomerang_client.cli.screen import Screen
from boomerang_client.cli.tables import Column, print_table
from boomerang_client.responses import SpendRow

GROUPS = ("day", "key", "batch", "model", "lane")
_day = click.DateTime(["%Y-%m-%d"])


class _Grouping(click.Choice[str]):
    """One of the groups, or the values of a label."""

    name = "GROUP"

    def __init__(self) -> None:
        super().__init__(GROUPS)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the value."""
        return value if value.startswith("label:") else super().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """Return what the help calls it."""
        return self.name


@click.command(
    epilog=examples(
        "boomerang spend",
        "boomerang spend --by batch --from 2026-11-01 --to 2026-11-30",
        "boomerang spend --by day --model kirin_image_omni",
        "boomerang spend --by label:team",
    )
)
@click.option(
    "--by",
    type=_Grouping(),
    default="day",
    show_default=True,
    help=f"What each line stands for: {', '.join(GROUPS)}, or label:NAME for the values of a label.",
)
@click.option("--from", "start", type=_day, metavar="DAY", help="The first day, as 2026-01-31 (UTC). Default: 30 days.")
@click.option("--to", "end", type=_day, metavar="DAY", help="The last day.")
@click.option("--producer", metavar="NAME", help="Only jobs that came with the key of this name.")
@click.option("--batch", metavar="BATCH", help="Only this batch.")
@click.option("--model", metavar="MODEL", help="Only this model.")
@click.option("--lane", metavar="LANE", help="Only this lane.")
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
    """Show what was spent, in US dollars.

    In a pipe: one line each, with tabs between name, jobs and US dollars, and without the total.
    """
    first, last = start.date() if start else None, end.date() if end else None
    spent = screen.client().spend(by, first, last, key=producer, **only)
    if screen.as_json:
        screen.result_json(spent.raw)
        return
    rows = list(spent.rows)
    if screen.out.is_terminal and rows:
        rows.append(SpendRow(name="total", jobs=spent.jobs, cost=spent.cost))
    columns: tuple[Column[SpendRow], ...] = (
        Column(name=by, plain=lambda row: row.name),
        Column(name="jobs", plain=lambda row: row.jobs, text=lambda row: f"{row.jobs:,}", right=True),
        Column(name="USD", plain=lambda row: row.cost, right=True),
    )
    print_table(screen, columns, rows, "Nothing was spent.")
