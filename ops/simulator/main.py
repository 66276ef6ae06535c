"""The command `simulate`. It serves only with the extra `simulator` installed; `--help` works without."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ops.commands import extras
from ops.simulator import logs
from ops.simulator.fault_options import FAULT_OPTIONS, STORM, FaultOption, FaultOptionInvalid, Value
from ops.simulator.settings import Settings

#: The options that are settings of the same name.
_FIELDS = ("seed", "keep", "image_key", "echo_external_id", "public_url", "plain_images")


def _option(option: FaultOption) -> click.Option:
    def read(_context: click.Context, _option: click.Parameter, value: str | None) -> Value | None:
        try:
            return None if value is None else option.read(value)
        except FaultOptionInvalid as error:
            raise click.BadParameter(str(error)) from error

    metavar = "|".join(option.choices) if option.choices else option.kind.value.upper()
    text = f"{option.help} [default: {option.rest}, with --storm: {option.storm}]"
    return click.Option([f"--{option.name.replace('_', '-')}"], callback=read, metavar=metavar, help=text)


def _run(**options: Any) -> None:
    logs.start()
    fields = {name: options.pop(name) for name in _FIELDS}
    fields |= {"keys": frozenset(options.pop("key")), "ledger_file": options.pop("ledger")}
    if key_file := options.pop("key_file"):
        fields["keys"] |= frozenset(key_file.read().split())
    where = {name: options.pop(name) for name in ("host", "port", "url_file")}
    storm = options.pop("storm")
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("outage") == "refuse":
        raise click.UsageError(
            "--outage refuse works only at run time (PUT /_sim/faults). Until then, do not start the simulator."
        )
    settings = Settings(faults={**STORM, **given} if storm else given, **fields)
    serving = extras.load("ops.simulator.serving", command="simulate", extra="simulator")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serving.serve(settings, **where))


def _address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise click.BadParameter(f"{value!r} is not a URL. Write it like http://127.0.0.1:8431.")
    return value.rstrip("/")


_PATH = click.Path(path_type=Path, dir_okay=False)

simulate = click.Command(
    "simulate",
    callback=_run,
    help="Run a simulated provider: the generation API as its pages describe it, with faults on demand.",
    params=[
        click.Option(["--host"], default="127.0.0.1", show_default=True, help="address to listen on"),
        click.Option(
            ["--port"],
            type=click.IntRange(0, 65535),
            default=0,
            show_default=True,
            help="port to listen on; 0: any free port",
        ),
        click.Option(["--url-file"], type=_PATH, help="file to write the URL to, once the simulator listens"),
        click.Option(
            ["--public-url"],
            callback=_address,
            metavar="URL",
            help="base URL of result images, if callers reach them under another one than the submissions",
        ),
        click.Option(
            ["--key"],
            multiple=True,
            envvar="BOOMERANG_SIMULATOR_KEYS",
            show_envvar=True,
            help="an accepted API key, repeatable; without one any key is accepted. Other users of the machine see "
            "command lines: use the variable, with spaces between keys, or --key-file",
        ),
        click.Option(
            ["--key-file"], type=click.File(), metavar="FILE|-", help="file of accepted API keys, one a line; -: stdin"
        ),
        click.Option(
            ["--seed"], default="0", show_default=True, help="the same seed and external ids cause the same faults"
        ),
        click.Option(["--ledger"], type=_PATH, help="file to append purchases to, as JSON lines"),
        click.Option(
            ["--keep"],
            type=click.FloatRange(min=0),
            default=0,
            help="delete results this many seconds after the task ended; 0: never",
        ),
        click.Option(
            ["--image-key"],
            default="image",
            show_default=True,
            help="name of the member that holds the image in an image_list item",
        ),
        click.Option(["--echo-external-id"], is_flag=True, help="include external_task_id in answers and callbacks"),
        click.Option(
            ["--plain-images"],
            is_flag=True,
            help="draw small images without the prompt, for runs with more jobs than this machine can draw",
        ),
        click.Option(
            ["--storm"], is_flag=True, help="switch on every fault at a moderate rate; other options override it"
        ),
        *(_option(option) for option in FAULT_OPTIONS),
    ],
)
