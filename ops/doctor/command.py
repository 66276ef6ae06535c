"""The command: everything that can be looked at from where it runs, a line each."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from jobs.errors import SettingsInvalid
from jobs.settings import Settings
from ops.doctor.finding import Finding, Level, bad
from ops.doctor.images import look_at_images
from ops.doctor.service import (
    look_at_callbacks,
    look_at_dead_ends,
    look_at_flower,
    look_at_installation,
    look_at_keys,
    look_at_provider,
    look_at_rounds,
    look_at_secrets,
    look_at_workers,
)
from ops.doctor.state import BROKER, STATE, look_at_redis
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.BAD: "red"}
AnySettings = TypeVar("AnySettings", bound=Settings)


@click.command("doctor")
@click.option("--flower", default="http://127.0.0.1:5555", show_default=True, help="Where Flower runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
@click.option("--strict", is_flag=True, help="Warnings count as bad in the exit code.")
@click.pass_context
def doctor(context: click.Context, flower: str, *, as_json: bool, strict: bool) -> None:
    """Look at everything a new installation gets wrong, with the environment of the service's processes.

    Nothing is changed (an object written to the image store is removed again), and nothing that costs money is asked of
    the provider. Exit code 0: nothing is bad; 1: something is.
    """
    counts = dict.fromkeys(Level, 0)
    table = Table("", "what", "how it is", "what to do")
    console = Console()
    with nullcontext() if as_json else console.status("looking …"):
        for finding in examine(os.environ, flower):
            counts[finding.level] += 1
            if as_json:
                click.echo(json.dumps(asdict(finding)))
            level = f"[{_COLOURS[finding.level]}]{finding.level}[/]"
            table.add_row(level, finding.about, finding.said, finding.do)
    if not as_json:
        console.print(table)
    context.exit(1 if counts[Level.BAD] or (strict and counts[Level.WARNING]) else 0)


def examine(env: Mapping[str, str], flower: str) -> Iterator[Finding]:
    """All findings, one after another."""
    problems: dict[str, None] = {}
    webhook = _read(WebhookSettings.from_env, env, problems)
    worker = _read(WorkerSettings.from_env, env, problems)
    for problem in problems:
        name, _, said = problem.partition(": ")
        yield bad(name, said, "Correct it: no process starts with it.")
    if webhook is None or worker is None:
        return
    yield from look_at_redis(STATE, worker.redis_url, state=True)
    apart = (
        worker.broker_url.startswith(("redis://", "rediss://", "sentinel")) and worker.broker_url != worker.redis_url
    )
    if apart:
        yield from look_at_redis(BROKER, worker.broker_url, state=False)
    yield from look_at_images(worker)
    yield from look_at_workers(worker)
    yield from look_at_installation(worker)
    yield from look_at_rounds(worker)
    yield from look_at_dead_ends(worker)
    yield from look_at_callbacks(webhook)
    yield from look_at_provider(worker)
    yield from look_at_flower(flower)
    yield from look_at_keys(webhook)
    yield from look_at_secrets(webhook, worker)


def _read(
    from_env: Callable[[Mapping[str, str]], AnySettings], env: Mapping[str, str], problems: dict[str, None]
) -> AnySettings | None:
    try:
        return from_env(env)
    except SettingsInvalid as error:
        problems.update(dict.fromkeys(error.problems))
        return None
