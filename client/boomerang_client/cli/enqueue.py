"""`boomerang enqueue`."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import click

from boomerang_client.choices import OnError, Priority
from boomerang_client.cli.columns import Columns, assign
from boomerang_client.cli.generate import DEFAULT_MODEL
from boomerang_client.cli.input_file import FORMATS, InputFile, Reading, open_input
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
from boomerang_client.cli.plain_output import echo
from boomerang_client.cli.progress_bars import sending
from boomerang_client.cli.quote_text import report_quote
from boomerang_client.cli.screen import FAILED, Screen
from boomerang_client.cli.upload_report import EnqueueCommand, continuable, naming_lines, report_lines, report_upload
from boomerang_client.cli.watch import follow
from boomerang_client.errors import BoomerangError, LineError
from boomerang_client.ids import new_id
from boomerang_client.ndjson import Numbered
from boomerang_client.terminal import clean, plain_json
from boomerang_client.upload_parts import MOST_ERRORS


@click.command(
    cls=EnqueueCommand,
    epilog=examples(
        "boomerang enqueue jobs.jsonl --wait",
        "boomerang enqueue jobs.jsonl --id boats --label season=spring --max-cost 250",
        "boomerang enqueue goods.csv --set model=kirin_image_omni \\\n"
        "      --template 'prompt=A photo of {Title}' --map image_list=Photo --print",
        "boomerang enqueue jobs.jsonl --dry-run",
        "boomerang enqueue prompts.txt --set n=2",
        "generate-requests | boomerang enqueue -",
    ),
)
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--id", "id_", metavar="BATCH", help="The batch's id. Repeat a broken upload with the same id.")
@click.option("--idempotency-key", "key", metavar="KEY", help="Any text that names this upload, instead of --id.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(tuple(FORMATS)),
    help="The format of FILE. Default: by its content and its name.",
)
@click.option(
    "--map",
    "mapped",
    type=pair,
    multiple=True,
    metavar="MEMBER=COLUMN",
    help="Tables: take a member of the request from a column. Labels are labels.NAME. image_list may have several.",
)
@click.option(
    "--template",
    "templates",
    type=pair,
    multiple=True,
    metavar="MEMBER=TEXT",
    help="Tables: make a member from text with {COLUMN} in it, as 'prompt=A photo of {Title}'.",
)
@click.option("--no-metadata", is_flag=True, help="Tables: leave out the columns that no member of the request uses.")
@set_option("The value of a member for all requests that do not have it.")
@click.option("--encoding", metavar="NAME", help="The encoding of FILE. Default: UTF-8, or UTF-16 if FILE is in it.")
@click.option("--delimiter", metavar="CHARACTER", help="CSV: separates cells. Default: as in the heading.")
@click.option("--sheet", metavar="NAME", help=".xlsx: the sheet. Default: the only visible one with content.")
@click.option(
    "--pictures",
    multiple=True,
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Also allow images below DIR, and look there for names that FILE's folder does not have. May be repeated.",
)
@label_option("A label of the batch. May be repeated.")
@priority_option("The batch's priority against your others.")
@click.option("--weight", type=click.IntRange(1, 100), metavar="1-100", help="The batch's share at equal priority.")
@click.option("--max-cost", type=money, metavar="USD", help="What all jobs of the batch together may cost.")
@click.option("--paused", is_flag=True, help="Begin no job before: boomerang approve BATCH.")
@click.option(
    "--pilot",
    type=click.IntRange(1, 500),
    metavar="JOBS",
    help="Begin so many jobs, spread over the batch; the others after: boomerang approve BATCH.",
)
@click.option("--callback-url", metavar="URL", help="Notified when the batch is done, saved, or paused.")
@click.option(
    "--on-error",
    type=click.Choice(["skip", "abort"]),
    help="skip (default): leave refused lines out. abort: accept all lines or none.",
)
@expires_option
@patience_option("1d")
@click.option("--wait", is_flag=True, help="Watch the batch until all its jobs have ended.")
@click.option("--dry-run", is_flag=True, help="Enqueue nothing. Check all, and print what it would cost.")
@click.option("--print", "prints", is_flag=True, help="Send nothing. Print the requests, one a line.")
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
    no_metadata: bool,
    members: tuple[tuple[str, str], ...],
    encoding: str | None,
    delimiter: str | None,
    sheet: str | None,
    pictures: tuple[Path, ...],
    labels: tuple[tuple[str, str], ...],
    priority: Priority | None,
    weight: int | None,
    max_cost: Decimal | None,
    paused: bool,
    pilot: int | None,
    callback_url: str | None,
    on_error: OnError | None,
    expires_in: float | None,
    patience: float,
    wait: bool,
    dry_run: bool,
    prints: bool,
) -> None:
    """Enqueue the requests in FILE as one batch. "-" reads stdin.

    FILE has one generation request a line, as JSON; or a JSON array of requests; or a table (CSV or .xlsx); or one
    prompt a line (.txt). It may be compressed with gzip or zip. In a table, columns named like members of the request
    need no option; --map and --template use others. The remaining columns come along as metadata, which results show
    beside the request. Images may be files below FILE's folder, by names relative to it.
    Refused lines are reported with their number, field and remedy; the others are enqueued. The model of prompts in a
    .txt is kirin_image_omni, unless --set names another.
    """
    screen: Screen = ctx.obj
    if paused and (pilot is not None or wait):
        raise click.UsageError("--paused excludes --pilot and --wait. Leave one of them out.")
    if key is not None and id_ is not None:
        raise click.UsageError("--id and --idempotency-key exclude each other. Leave one of them out.")
    batch = id_ or new_id()
    reading = Reading(
        format_, Columns(_group(mapped), dict(templates), carry=not no_metadata), encoding, delimiter, sheet
    )
    with continuable(ctx, screen, "" if id_ or key else batch):
        input_file = open_input(file, _name(file), reading)
        defaults: dict[str, Any] = {"model": DEFAULT_MODEL} if input_file.format == "txt" else {}
        if expires_in is not None:
            defaults["expires_in"] = math.ceil(expires_in)
        for member, text in members:
            assign(defaults, member, text)
        source = _requests(screen, input_file, defaults)
        if prints:
            ctx.exit(FAILED if _print(screen, source, input_file.unit) else 0)
        client, folders = screen.client(), [Path(_name(file)).parent, *pictures]
        if dry_run:
            quote = client.quote(
                source, id_, labels=dict(labels), priority=priority, weight=weight, max_cost=max_cost, paused=paused,
                pilot=pilot, callback_url=callback_url, on_error=on_error, folder=folders,
            )  # fmt: skip
            report_quote(screen, quote, input_file.unit)
            ctx.exit(FAILED if quote.rejected else 0)
        if id_ is None and key is None and not screen.as_json:
            # Before anything is sent: a command that is killed cannot say it.
            screen.message(f"Batch {batch}. If the upload breaks, repeat the command with --id {batch}.", "dim")
        with naming_lines(screen, input_file.unit), sending(screen, file) as progress:
            accepted = client.enqueue_batch(
                source,
                None if key is not None else batch,
                labels=dict(labels),
                priority=priority,
                weight=weight,
                max_cost=max_cost,
                paused=paused,
                pilot=pilot,
                callback_url=callback_url,
                on_error=on_error,
                key=key,
                folder=folders,
                patience=patience,
                progress=progress,
                on_wait=screen.report_wait,
            )
    failed = report_upload(ctx, screen, accepted, input_file.unit)
    if wait and accepted.accepted + accepted.known:
        failed = follow(ctx, client, accepted.id, patience).unsuccessful > 0 or failed
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


def _requests(screen: Screen, input_file: InputFile, defaults: dict[str, Any]) -> Iterator[Numbered]:
    """Return the requests of a file. Raises BoomerangError when it has none, so that no empty batch is made."""
    source = input_file.requests(defaults, lambda text: screen.message(clean(text)))
    refused: list[Numbered] = []
    for each in source:
        if isinstance(each.line, LineError):
            if len(refused) < MOST_ERRORS:
                refused.append(each)
        elif not isinstance(each.line, bytes) or each.line.strip():
            return chain(refused, [each], source)
    error = BoomerangError(_NOTHING if refused else _EMPTY)
    error.lines = tuple(each.line for each in refused if isinstance(each.line, LineError))
    report_lines(screen, error.lines, input_file.unit)
    raise error


_EMPTY = "The file has no requests. Write one JSON object a line, one prompt a line (.txt), or a table."
_NOTHING = "Nothing was sent: all requests of the file are refused. Correct them."


def _print(screen: Screen, source: Iterable[Numbered], unit: str) -> bool:
    """Print the requests. Return whether some are refused."""
    refused = False
    for _, line in source:
        if isinstance(line, LineError):
            report_lines(screen, (line,), unit)
            refused = True
        else:
            text = line.decode(errors="backslashreplace") if isinstance(line, bytes) else _json_text(line)
            echo(plain_json(text.rstrip("\r\n")))
    return refused


def _json_text(request: Mapping[str, Any]) -> str:
    return json.dumps(request, ensure_ascii=False)
