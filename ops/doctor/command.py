"""The command `boomerang-server doctor`: run all checks that are possible from here, and print a line for each."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from jobs.connections.settings import LOCAL_REDIS
from jobs.errors import SettingsInvalid
from jobs.settings import Settings
from ops.commands.help_text import examples
from ops.commands.store import NOT_RUN, PROBLEMS
from ops.commands.table import show_table
from ops.commands.terminal import echo
from ops.doctor.check import Finding, Level, bad
from ops.doctor.images import check_images
from ops.doctor.limits import check_limits
from ops.doctor.machine import check_machine, this_machine
from ops.doctor.redis_servers import BROKER, STATE, check_redis
from ops.doctor.results import check_results
from ops.doctor.service import (
    check_callbacks,
    check_flower,
    check_installation,
    check_keys,
    check_provider,
    check_rounds,
    check_secrets,
    check_stuck,
    check_workers,
)
from ops.local.data_folder import FLOWER_ADDRESS, load_environment
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

#: The default address of Flower.
FLOWER = "http://127.0.0.1:5555"
_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.BAD: "red"}
AnySettings = TypeVar("AnySettings", bound=Settings)


@click.command(
    "doctor",
    short_help="Check the whole installation.",
    epilog=examples(
        "boomerang-server doctor",
        "boomerang-server doctor --data .boomerang",
        "docker compose run --rm operator doctor --strict",
    ),
)
@click.option(
    "--flower",
    envvar="BOOMERANG_FLOWER_URL",
    show_envvar=True,
    metavar="URL",
    help=f"Address of Flower.  [default: {FLOWER}, or that of the local stack]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    envvar="BOOMERANG_DATA",
    show_envvar=True,
    help="Check the stack that boomerang-server up runs in this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print each finding as one JSON object per line.")
@click.option("--strict", is_flag=True, help="End with exit code 1 also if there are only warnings.")
@click.pass_context
def doctor(context: click.Context, flower: str | None, data: Path | None, *, as_json: bool, strict: bool) -> None:
    """Check the installation: settings, Redis, processes, callbacks, provider and secrets.

    Run it in the environment of the service's processes, or with --data for a stack of boomerang-server up. It changes
    nothing and costs nothing: an object that it writes to the image store is removed again.

    Exit code 0: nothing is bad; 1: something is; 2: a check was not possible, because the user lacks a right.
    """
    stack = load_environment(data) if data else {}
    if data and not stack:
        raise click.BadParameter(f"boomerang-server up has not run in {data}.", param_hint="--data")
    found: list[Finding] = []
    if not as_json:
        echo(_introduction(data), err=True)
    for finding in examine({**os.environ, **stack}, flower or stack.get(FLOWER_ADDRESS) or FLOWER, local=bool(stack)):
        found.append(finding)
        if as_json:
            data_of = asdict(finding)
            del data_of["refused"]
            echo(json.dumps(data_of))
    if not as_json:
        rows = [(each.level.value, each.subject, each.detail, each.remedy) for each in found]
        show_table(("level", "subject", "detail", "remedy"), rows, [_COLOURS[each.level] for each in found])
        counts = Counter(each.level for each in found)
        echo(f"{len(found)} checks: {', '.join(f'{counts[level]} {level}' for level in Level)}.", err=True)
    if any(each.refused for each in found):
        context.exit(NOT_RUN)
    levels = {each.level for each in found}
    context.exit(PROBLEMS if Level.BAD in levels or (strict and Level.WARNING in levels) else 0)


def _introduction(data: Path | None) -> str:
    """Say what is checked: a stack, or the service that the environment configures."""
    if data:
        return f"Checking the local stack in {data} …"
    if os.environ.get(STATE):
        return "Checking the service that this environment configures …"
    return (
        f"{STATE} is not set, so this checks the default, {LOCAL_REDIS}. "
        "To check a stack of boomerang-server up, add --data DIR (its default folder is .boomerang)."
    )


def examine(env: Mapping[str, str], flower: str, *, local: bool = False) -> Iterator[Finding]:
    """Run all checks. `local`: the installation is a stack of `boomerang-server up`."""
    problems: dict[str, None] = {}
    webhook = _read(WebhookSettings.from_env, env, problems)
    worker = _read(WorkerSettings.from_env, env, problems)
    for problem in problems:
        name, _, detail = problem.partition(": ")
        yield bad(name, detail, "Correct it: no process starts with this value.")
    if webhook is None or worker is None:
        return
    yield from check_redis(STATE, worker.redis_url, state=True, local=local)
    apart = (
        worker.broker_url.startswith(("redis://", "rediss://", "sentinel")) and worker.broker_url != worker.redis_url
    )
    if apart:
        yield from check_redis(
            BROKER, worker.broker_url, state=False, generate_queue=worker.generate_queue, local=local
        )
    yield from check_machine(worker.redis_url, this_machine(), local=local)
    yield from check_images(worker)
    yield from check_results(worker)
    yield from check_workers(worker)
    yield from check_installation(worker)
    yield from check_rounds(worker)
    yield from check_stuck(worker)
    yield from check_callbacks(webhook)
    yield from check_provider(worker)
    yield from check_flower(flower)
    yield from check_keys(webhook)
    yield from check_secrets(webhook, worker)
    yield from check_limits(webhook, env)


def _read(
    from_env: Callable[[Mapping[str, str]], AnySettings], env: Mapping[str, str], problems: dict[str, None]
) -> AnySettings | None:
    try:
        return from_env(env)
    except SettingsInvalid as error:
        problems.update(dict.fromkeys(error.problems))
        return None
