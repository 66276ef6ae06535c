"""`boomerang enqueue`."""

import codecs
import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import click

from boomerang_client.cli.inputs import Columns, assigned, lines, rows, values
from boomerang_client.cli.options import duration, label_option, money, pair, patience_option
from boomerang_client.cli.progress_bars import sending
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen, field_lines, json_option
from boomerang_client.cli.watch import follow
from boomerang_client.errors import BoomerangError, LineError
from boomerang_client.ids import new_id
from boomerang_client.ndjson import Numbered
from boomerang_client.responses import BatchAccepted

#: Forms of a file, and what one request in it is called.
FORMS = {"ndjson": "line", "json": "item", "csv": "row"}


@click.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--id", "id_", metavar="BATCH", help="The batch's id; give the same again to repeat a broken upload.")
@click.option("--idempotency-key", "key", metavar="TEXT", help="Any text that stands for this upload, instead of --id.")
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(FORMS)),
    help="Of FILE. By default its name says it; anything but .json, .csv and .tsv is ndjson.",
)
@click.option(
    "--map",
    "mapped",
    type=pair,
    multiple=True,
    metavar="MEMBER=COLUMN",
    help='CSV: the column of a member of the request. "labels.NAME" and image_list may be members, the latter often.',
)
@click.option(
    "--template",
    "templates",
    type=pair,
    multiple=True,
    metavar="MEMBER=TEXT",
    help='CSV: text with {COLUMN} in it: --template "prompt=a photo of {Title} in {Colour}".',
)
@click.option(
    "--set", "fixed", type=pair, multiple=True, metavar="MEMBER=VALUE", help="Where a job does not say otherwise."
)
@click.option("--encoding", default="utf-8-sig", show_default=True, help="CSV: of FILE.")
@click.option("--delimiter", metavar="CHARACTER", help="CSV: between cells. By default as the heading has it.")
@label_option("Of the batch; may be given several times.")
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), help="Of the batch against others.")
@click.option("--weight", type=click.IntRange(1, 100), help="Its share against batches of the same priority.")
@click.option("--max-cost", type=money, metavar="USD", help="What all its jobs together may cost.")
@click.option(
    "--on-error",
    type=click.Choice(["skip", "abort"]),
    help="skip (the default): refused lines are left out. abort: all lines are taken in, or none.",
)
@click.option("--expires-in", type=duration, metavar="DURATION", help="A job that has not begun by then ends unpaid.")
@patience_option("1d")
@click.option("--wait", is_flag=True, help="Watch the batch until it is done.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print the requests as lines of JSON.")
@json_option
@click.pass_context
def enqueue(
    ctx: click.Context,
    *,
    file: BinaryIO,
    id_: str | None,
    key: str | None,
    form: str | None,
    mapped: tuple[tuple[str, str], ...],
    templates: tuple[tuple[str, str], ...],
    fixed: tuple[tuple[str, str], ...],
    encoding: str,
    delimiter: str | None,
    labels: tuple[tuple[str, str], ...],
    priority: str | None,
    weight: int | None,
    max_cost: Decimal | None,
    on_error: str | None,
    expires_in: float | None,
    patience: float,
    wait: bool,
    dry_run: bool,
) -> None:
    """Enqueue the jobs of FILE as a batch; "-" reads from stdin.

    FILE has one generation request a line, as JSON; or is a JSON array of them; or a table in CSV, in which columns
    named as members of the request stand for these and others are named by --map. Pictures may be files, by names
    relative to FILE's folder. Refused lines are reported with their number, field and remedy; the others are enqueued.
    """
    screen: Screen = ctx.obj
    if key is not None and id_ is not None:
        raise click.UsageError("--idempotency-key stands instead of --id: leave one of them out.")
    batch = id_ or new_id()
    defaults: dict[str, Any] = {} if expires_in is None else {"expires_in": math.ceil(expires_in)}
    for member, text in fixed:
        assigned(defaults, member, text)
    columns = Columns(_gathered(mapped), dict(templates))
    form = form or _form(_name(file), columns)
    source = _source(screen, file, form, _Table(columns, encoding, delimiter), defaults)
    if dry_run:
        _print(source)
        return
    client = screen.client()
    try:
        with sending(screen, file) as progress:
            accepted = client.enqueue_batch(
                source,
                None if key is not None else batch,
                labels=dict(labels),
                priority=priority,
                weight=weight,
                max_cost=max_cost,
                on_error=on_error,
                key=key,
                folder=Path(_name(file)).parent,
                patience=patience,
                progress=progress,
                on_wait=screen.waiting,
            )
    except KeyboardInterrupt:
        how = f"--id {batch}" if key is None else "the same --idempotency-key"
        screen.tell(f"Broken off. To send the rest: the same command with {how}; nothing is bought twice.")
        ctx.exit(INTERRUPTED)
    except BoomerangError as error:
        _report_lines(screen, error.lines, FORMS[form])
        raise
    _report(screen, accepted, FORMS[form])
    there = accepted.accepted + accepted.known
    refused = accepted.rejected > 0 or not there
    if wait and there:
        refused = follow(ctx, client, accepted.id, patience).unsuccessful > 0 or refused
    elif not screen.as_json and there:
        screen.say(f"Next: boomerang watch {accepted.id}")
    ctx.exit(FAILED if refused else 0)


def _gathered(mapped: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for member, column in mapped:
        columns.setdefault(member, []).append(column)
    return columns


def _name(file: BinaryIO) -> str:
    """The file's name; "" for stdin."""
    name = getattr(file, "name", "")
    return "" if not isinstance(name, str) or name in ("-", "<stdin>") else name


def _form(name: str, columns: Columns) -> str:
    ends = Path(name.removesuffix(".gz")).suffix.lower()
    if columns.mapped or columns.templates or ends in (".csv", ".tsv"):
        return "csv"
    return "json" if ends == ".json" else "ndjson"


@dataclass(frozen=True)
class _Table:
    """How a file is to be read if it is a table."""

    columns: Columns
    encoding: str
    delimiter: str | None

    def check(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise click.UsageError(f"There is no encoding {self.encoding!r}; try utf-8 or cp1252.") from error
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise click.UsageError("A delimiter is one character, such as ';'.")


def _source(screen: Screen, file: BinaryIO, form: str, how: _Table, defaults: dict[str, Any]) -> Iterator[Numbered]:
    if form != "csv" and (how.columns.mapped or how.columns.templates):
        raise click.UsageError("--map and --template are for CSV.")
    opened: Any = gzip.open(file) if _name(file).endswith(".gz") else file  # noqa: SIM115 -- click closes the file
    if form == "ndjson":
        return lines(opened, defaults)
    if form == "json":
        return values(opened, defaults)
    how.check()

    def unused(names: list[str]) -> None:
        if names:
            screen.tell(f"Columns that are not used: {', '.join(names)}")

    return rows(opened, how.columns, defaults, encoding=how.encoding, delimiter=how.delimiter, unused=unused)


def _print(source: Iterator[Numbered]) -> None:
    for _, line in source:
        click.echo(line.rstrip(b"\r\n") if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False))


def _report(screen: Screen, accepted: BatchAccepted, unit: str) -> None:
    if screen.as_json:
        screen.document(accepted.view)
        return
    screen.say(
        f"Batch {accepted.id}: {accepted.accepted:,} accepted, {accepted.known:,} known before, "
        f"{accepted.rejected:,} rejected."
    )
    _report_lines(screen, accepted.errors, unit)
    if accepted.rejected > len(accepted.errors):
        screen.tell(f"  and {accepted.rejected - len(accepted.errors)} more")
    if accepted.accepted + accepted.known + accepted.rejected == 0:
        screen.tell("There are no jobs in it: give one JSON object a line.")


def _report_lines(screen: Screen, lines: tuple[LineError, ...], unit: str) -> None:
    """Refused lines on stderr, each with its fields."""
    for error in () if screen.as_json else lines:
        for line in field_lines(error.errors, error.codes):
            screen.tell(f"  {unit} {error.line}: {line}")
