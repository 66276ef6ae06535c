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

from boomerang_client.cli.inputs import Columns, assign, read_csv, read_json, read_ndjson
from boomerang_client.cli.options import (
    examples,
    expires_option,
    json_option,
    label_option,
    money,
    pair,
    patience_option,
    priority_option,
    set_option,
)
from boomerang_client.cli.progress_bars import sending
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen, field_lines
from boomerang_client.cli.watch import follow
from boomerang_client.errors import BoomerangError, LineError
from boomerang_client.ids import new_id
from boomerang_client.ndjson import Numbered
from boomerang_client.responses import BatchAccepted
from boomerang_client.terminal import clean

#: Formats of a file, and the name of one request in it.
FORMATS = {"ndjson": "line", "json": "item", "csv": "row"}


@click.command(
    epilog=examples(
        "boomerang enqueue jobs.jsonl --wait",
        "boomerang enqueue jobs.jsonl --id boats --label season=spring --max-cost 250",
        "boomerang enqueue goods.csv --set model=kirin_image_omni \\\n"
        "      --template 'prompt=A photo of {Title}' --map image_list=Photo --dry-run",
        "generate-requests | boomerang enqueue -",
    )
)
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--id", "id_", metavar="BATCH", help="The batch's id. Repeat a broken upload with the same id.")
@click.option("--idempotency-key", "key", metavar="KEY", help="Any text that names this upload, instead of --id.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(tuple(FORMATS)),
    help="The format of FILE. Default: by its name; csv for .csv and .tsv, json for .json, otherwise ndjson.",
)
@click.option(
    "--map",
    "mapped",
    type=pair,
    multiple=True,
    metavar="MEMBER=COLUMN",
    help="CSV: take a member of the request from a column. Labels are labels.NAME. image_list may have several.",
)
@click.option(
    "--template",
    "templates",
    type=pair,
    multiple=True,
    metavar="MEMBER=TEXT",
    help="CSV: make a member from text with {COLUMN} in it, as 'prompt=A photo of {Title}'.",
)
@set_option("The value of a member for all requests that do not have it.")
@click.option("--encoding", default="utf-8-sig", show_default=True, metavar="NAME", help="CSV: the encoding of FILE.")
@click.option("--delimiter", metavar="CHARACTER", help="CSV: separates cells. Default: as in the heading.")
@label_option("A label of the batch. May be repeated.")
@priority_option("The batch's priority against others.")
@click.option("--weight", type=click.IntRange(1, 100), metavar="1-100", help="The batch's share at equal priority.")
@click.option("--max-cost", type=money, metavar="USD", help="What all jobs of the batch together may cost.")
@click.option(
    "--on-error",
    type=click.Choice(["skip", "abort"]),
    help="skip (default): leave refused lines out. abort: accept all lines or none.",
)
@expires_option
@patience_option("1d")
@click.option("--wait", is_flag=True, help="Watch the batch until all its jobs have ended.")
@click.option("--dry-run", is_flag=True, help="Send nothing. Print the requests, one a line.")
@json_option
@click.pass_context
def enqueue(
    ctx: click.Context,
    *,
    file: BinaryIO,
    id_: str | None,
    key: str | None,
    format_: str | None,
    mapped: tuple[tuple[str, str], ...],
    templates: tuple[tuple[str, str], ...],
    members: tuple[tuple[str, str], ...],
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
    """Enqueue the requests in FILE as one batch. "-" reads stdin.

    FILE has one generation request a line, as JSON. Or it is a JSON array of requests, or a CSV table. In a table,
    columns named like members of the request need no option; --map and --template use others. Images may be files, by
    names relative to FILE's folder. Refused lines are reported with their number, field and remedy; the others are
    enqueued.
    """
    screen: Screen = ctx.obj
    if key is not None and id_ is not None:
        raise click.UsageError("--id and --idempotency-key exclude each other. Leave one of them out.")
    batch = id_ or new_id()
    defaults: dict[str, Any] = {} if expires_in is None else {"expires_in": math.ceil(expires_in)}
    for member, text in members:
        assign(defaults, member, text)
    columns = Columns(_group(mapped), dict(templates))
    format_ = format_ or _format_of(_name(file), columns)
    source = _source(screen, file, format_, _Table(columns, encoding, delimiter), defaults)
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
                on_wait=screen.report_wait,
            )
    except KeyboardInterrupt:
        option = f"--id {batch}" if key is None else "the same --idempotency-key"
        screen.message(f"Stopped. To send the rest, repeat the command with {option}. Nothing is paid twice.")
        ctx.exit(INTERRUPTED)
    except BoomerangError as error:
        _report_lines(screen, error.lines, FORMATS[format_])
        raise
    _report(screen, accepted, FORMATS[format_])
    jobs = accepted.accepted + accepted.known
    failed = accepted.rejected > 0 or not jobs
    if wait and jobs:
        failed = follow(ctx, client, accepted.id, patience).unsuccessful > 0 or failed
    elif jobs:
        screen.next_step(f"boomerang watch {clean(accepted.id)}")
    ctx.exit(FAILED if failed else 0)


def _group(pairs: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for member, column in pairs:
        columns.setdefault(member, []).append(column)
    return columns


def _name(file: BinaryIO) -> str:
    """Return the file's name, or "" for stdin."""
    name = getattr(file, "name", "")
    return "" if not isinstance(name, str) or name in ("-", "<stdin>") else name


def _format_of(name: str, columns: Columns) -> str:
    extension = Path(name.removesuffix(".gz")).suffix.lower()
    if columns.mapped or columns.templates or extension in (".csv", ".tsv"):
        return "csv"
    return "json" if extension == ".json" else "ndjson"


@dataclass(frozen=True)
class _Table:
    """How to read a file that is a table."""

    columns: Columns
    encoding: str
    delimiter: str | None

    def check(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError as error:
            raise click.UsageError(f"There is no encoding {self.encoding!r}. Try utf-8 or cp1252.") from error
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise click.UsageError(f"The delimiter {self.delimiter!r} is not one character. Use one, such as ';'.")


def _source(
    screen: Screen, file: BinaryIO, format_: str, table: _Table, defaults: dict[str, Any]
) -> Iterator[Numbered]:
    if format_ != "csv" and (table.columns.mapped or table.columns.templates):
        raise click.UsageError(f"--map and --template are for CSV, but the format is {format_}. Leave them out.")
    opened: Any = gzip.open(file) if _name(file).endswith(".gz") else file  # noqa: SIM115 -- click closes the file
    if format_ == "ndjson":
        return read_ndjson(opened, defaults)
    if format_ == "json":
        return read_json(opened, defaults)
    table.check()

    def unused(names: list[str]) -> None:
        if names:
            screen.message(f"Columns that are not used: {clean(', '.join(names))}")

    return read_csv(opened, table.columns, defaults, encoding=table.encoding, delimiter=table.delimiter, unused=unused)


def _print(source: Iterator[Numbered]) -> None:
    for _, line in source:
        click.echo(line.rstrip(b"\r\n") if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False))


def _report(screen: Screen, accepted: BatchAccepted, unit: str) -> None:
    if screen.as_json:
        screen.result_json(accepted.view)
        return
    screen.result(
        f"Batch {clean(accepted.id)}: {accepted.accepted:,} accepted, {accepted.known:,} known before, "
        f"{accepted.rejected:,} rejected."
    )
    _report_lines(screen, accepted.errors, unit)
    if accepted.rejected > len(accepted.errors):
        screen.message(f"  and {accepted.rejected - len(accepted.errors):,} more")
    if accepted.accepted + accepted.known + accepted.rejected == 0:
        screen.message("The file has no requests. Write one JSON object a line.")


def _report_lines(screen: Screen, lines: tuple[LineError, ...], unit: str) -> None:
    """Print refused lines on stderr, each with its fields."""
    for error in () if screen.as_json else lines:
        for line in field_lines(error.errors, error.codes):
            screen.message(f"  {unit} {error.line}: {line}")
