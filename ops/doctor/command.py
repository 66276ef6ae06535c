"""The command: everything that can be looked at from where it runs, a line each."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from jobs.errors import SettingsInvalid
from jobs.settings import Settings
from ops.commands.store import NOT_RUN, SOME
from ops.commands.table import show_table
from ops.doctor.check import Finding, Level, bad
from ops.doctor.images import look_at_images
from ops.doctor.machine import look_at_machine, this_machine
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
from ops.local.data_folder import FLOWER_ADDRESS, of_stack
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

#: Where Flower runs unless it is told otherwise.
FLOWER = "http://127.0.0.1:5555"
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.BAD: "red"}
AnySettings = TypeVar("AnySettings", bound=Settings)


@click.command("doctor")
@click.option(
    "--flower",
    envvar="BOOMERANG_FLOWER_URL",
    show_envvar=True,
    help=f"Where Flower runs.  [default: {FLOWER}, or the stack's own]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Look at the stack that `boomerang-server up` runs in this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for machines.")
@click.option("--strict", is_flag=True, help="Warnings count as bad in the exit code.")
@click.pass_context
def doctor(context: click.Context, flower: str | None, data: Path | None, *, as_json: bool, strict: bool) -> None:
    """Look at everything a new installation gets wrong, with the environment of the service's processes.

    Nothing is changed (an object written to the image store is removed again), and nothing that costs money is asked of
    the provider. Exit code 0: nothing is bad; 1: something is; 2: a right is missing to look.
    """
    stack = of_stack(data) if data else {}
    found: list[Finding] = []
    if not as_json and sys.stderr.isatty():
        click.echo("looking …", err=True)
    for finding in examine({**os.environ, **stack}, flower or stack.get(FLOWER_ADDRESS) or FLOWER, local=bool(stack)):
        found.append(finding)
        if as_json:
            shown = asdict(finding)
            del shown["refused"]
            click.echo(json.dumps(shown))
    if not as_json:
        rows = [(each.level.value, each.about, each.said, each.do) for each in found]
        show_table(("", "what", "how it is", "what to do"), rows, [_COLOURS[each.level] for each in found])
    if any(each.refused for each in found):
        context.exit(NOT_RUN)
    levels = {each.level for each in found}
    context.exit(SOME if Level.BAD in levels or (strict and Level.WARNING in levels) else 0)


def examine(env: Mapping[str, str], flower: str, *, local: bool = False) -> Iterator[Finding]:
    """All findings, one after another. `local`: of a stack that `boomerang-server up` runs."""
    problems: dict[str, None] = {}
    webhook = _read(WebhookSettings.from_env, env, problems)
    worker = _read(WorkerSettings.from_env, env, problems)
    for problem in problems:
        name, _, said = problem.partition(": ")
        yield bad(name, said, "Correct it: no process starts with it.")
    if webhook is None or worker is None:
        return
    yield from look_at_redis(STATE, worker.redis_url, state=True, local=local)
    apart = (
        worker.broker_url.startswith(("redis://", "rediss://", "sentinel")) and worker.broker_url != worker.redis_url
    )
    if apart:
        yield from look_at_redis(
            BROKER, worker.broker_url, state=False, generate_queue=worker.generate_queue, local=local
        )
    yield from look_at_machine(worker.redis_url, this_machine())
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
