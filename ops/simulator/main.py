"""The command: options from the table of knobs. Serving needs the extra `simulator`, `--help` does not."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ops.commands import extras
from ops.simulator import logs
from ops.simulator.fault_options import KNOBS, STORM, Knob, KnobInvalid, Value
from ops.simulator.settings import Settings


def _option(knob: Knob) -> click.Option:
    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> Value | None:
        try:
            return None if value is None else knob.read(value)
        except KnobInvalid as error:
            raise click.BadParameter(str(error)) from error

    metavar = "|".join(knob.options) if knob.options else knob.kind.value.upper()
    text = f"{knob.help} [at rest: {knob.rest}, in the storm: {knob.storm}]"
    return click.Option([f"--{knob.name.replace('_', '-')}"], callback=read, metavar=metavar, help=text)


def _run(**options: Any) -> None:
    logs.start()
    fields = {name: options.pop(name) for name in ("seed", "keep", "image_key", "echo_external_id", "public_url")}
    fields |= {"keys": frozenset(options.pop("key")), "ledger_file": options.pop("ledger")}
    where = {name: options.pop(name) for name in ("host", "port", "url_file")}
    storm = options.pop("storm")
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("outage") == "refuse":
        raise click.UsageError("--outage refuse is for run time (PUT /_sim/faults); at the start, do not start it")
    settings = Settings(faults={**STORM, **given} if storm else given, **fields)
    serving = extras.load("ops.simulator.serving", command="simulate", extra="simulator")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serving.serve(settings, **where))


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise click.BadParameter(f"{value!r} is no address such as http://127.0.0.1:8431")
    return value.rstrip("/")


_PATH = click.Path(path_type=Path, dir_okay=False)

simulate = click.Command(
    "simulate",
    callback=_run,
    help="The generation API as a process of its own, strict to its pages, with faults on demand.",
    params=[
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="where to listen"),
        click.Option(["--port"], type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one"),
        click.Option(["--url-file"], type=_PATH, help="write the address there once it listens"),
        click.Option(
            ["--public-url"],
            callback=_address,
            metavar="URL",
            help="where pictures are fetched, when it is not the address that submissions are sent to",
        ),
        click.Option(["--key"], multiple=True, help="an accepted API key; repeatable; none: any key will do"),
        click.Option(["--seed"], default="0", show_default=True, help="the same seed brings the same faults"),
        click.Option(["--ledger"], type=_PATH, help="append what is bought there, as JSON lines"),
        click.Option(
            ["--keep"],
            type=click.FloatRange(min=0),
            default=0,
            help="delete results so many seconds after their end; 0: never",
        ),
        click.Option(["--image-key"], default="image", show_default=True, help="member of an image_list item"),
        click.Option(["--echo-external-id"], is_flag=True, help="answers carry external_task_id"),
        click.Option(["--storm"], is_flag=True, help="every fault at once, at sensible rates; options beside it win"),
        *(_option(knob) for knob in KNOBS),
    ],
)
