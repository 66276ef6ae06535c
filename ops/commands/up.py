"""`boomerang-server up`: the whole service on this machine until Ctrl-C."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.text import Text

from jobs.lanes import PROVIDER_KEY
from ops.local import redis_binary
from ops.local.console import SafeConsole
from ops.local.data_folder import FolderInUse, PortTaken, save_environment, write_private
from ops.local.processes import doctor_environment
from ops.local.redis_server import RedisCannotStart
from ops.local.signals import StopRequested, stop_on_signal
from ops.local.stack import LocalStack, Options
from ops.local.stall_watch import StallWatch
from ops.local.supervisor import Report, StartFailed

#: Errors that keep a stack from starting. Their messages are meant for the user.
CANNOT_START = (FolderInUse, PortTaken, RedisCannotStart, StartFailed)
EXAMPLE = {"model": "kirin_image_omni", "prompt": "a boomerang over the sea at dawn"}


def run(data: Path, port: int | None, sim: str, *, flower: bool) -> None:
    """Run a local stack until Ctrl-C."""
    real = any(value.strip() for name, value in os.environ.items() if name.startswith(PROVIDER_KEY))
    if real and sim:
        raise click.UsageError(
            "--sim has no effect: BOOMERANG_PROVIDER_KEY is set, so the real provider is used. Unset it, or omit --sim."
        )
    console = SafeConsole()
    if os.environ.get("BOOMERANG_REDIS_URL"):
        console.print(
            "BOOMERANG_REDIS_URL is ignored: this stack starts its own Redis.", style="yellow", soft_wrap=True
        )
    # Its Redis writes to the disk before it replies, so a restart loses nothing and needs no look-ups.
    settings = {"BOOMERANG_RECOVERY": os.environ.get("BOOMERANG_RECOVERY") or "off"}
    options = Options(folder=data, port=port, flower=flower, simulator=None if real else sim, settings=settings)
    report = reporter(console)
    stack = LocalStack(options, report)
    try:
        with stop_on_signal(stack.stop_now):
            console.print("Starting the service …", style="dim", soft_wrap=True)
            with stack:
                print_summary(console, stack)
                wait(console, stack, report)
    except CANNOT_START as error:
        raise click.ClickException(str(error)) from None
    except StopRequested:
        console.print("Stopped. All processes have ended.", style="dim")


def wait(console: Console, stack: LocalStack, report: Report) -> None:
    """Wait until the stack stops or a signal handler raises, and report when jobs do not move meanwhile."""
    try:
        with StallWatch(stack.redis_url, report):
            stack.wait()
    finally:
        console.print("Stopping … (press Ctrl-C again to kill all processes)", style="dim", soft_wrap=True)


def reporter(console: Console) -> Report:
    """Return a function that prints a line about a child process."""

    def report(process: str, line: str) -> None:
        console.print(Text.assemble((f"{process:>9} ", "yellow"), (line, "dim")), soft_wrap=True)

    return report


def print_summary(console: Console, stack: LocalStack) -> None:
    """Save the settings of a running stack in its folder, and print its addresses and a first request."""
    plan, variables = stack.plan, stack_variables(stack)
    env = plan.folder / "env"
    write_private(env, "".join(f"export {name}={value}\n" for name, value in variables.items()))
    save_environment(plan.folder, doctor_environment(plan, stack.redis_url, stack.broker_url))
    console.print()
    for label, text in _summary(stack, env):
        # Never wrapped: addresses, keys and paths are copied from here.
        console.print(Text.assemble((f"{label:<10}  ", "bold"), text), soft_wrap=True)
    console.print("\nTry it in another terminal:", style="bold")
    for line in (
        f"source {shlex.quote(str(env))}",
        'curl "$BOOMERANG_URL/v1/jobs" -H "Authorization: Bearer $BOOMERANG_KEY" \\',
        f"     -H 'Content-Type: application/json' -d '{json.dumps(EXAMPLE)}'",
    ):
        console.print(line, soft_wrap=True)
    console.print("\nPress Ctrl-C to stop everything.", style="dim")


def stack_variables(stack: LocalStack) -> dict[str, str]:
    """Return the variables for clients, for the commands of an operator and for Celery producers."""
    return {
        "BOOMERANG_URL": stack.url,
        "BOOMERANG_KEY": stack.key,
        "BOOMERANG_REDIS_URL": stack.redis_url,
        "BOOMERANG_BROKER_URL": stack.broker_url,
        "BOOMERANG_RESULT_URL": stack.broker_url,
        "BOOMERANG_PRODUCER_URL": stack.broker_urls["producer"],
        "BOOMERANG_DATA": str(stack.plan.folder),
    }


def _summary(stack: LocalStack, env: Path) -> Iterator[tuple[str, str | Text]]:
    plan = stack.plan
    yield "Dashboard", _with_note(f"{stack.url}/  ", "(log in with the key)")
    yield "Key", stack.key
    yield "Service", _with_note(f"{stack.url}  ", f"(API documentation: {stack.url}/docs)")
    if plan.flower:
        note = f"(user boomerang, password {plan.secrets.flower_password})"
        yield "Flower", _with_note(f"{plan.url('flower')}  ", note)
    if plan.simulator is not None:
        note = "simulated, because BOOMERANG_PROVIDER_KEY is not set"
        yield "Provider", _with_note(f"{plan.url('simulator')}  ", note, "yellow")
    else:
        yield "Provider", Text("the real one: jobs cost money", "red")
        if plan.public_url is None:
            note = "none, because BOOMERANG_PUBLIC_URL is not set: results are found by polling"
            yield "Callbacks", Text(note, "yellow")
    binary = redis_binary.find(os.environ)
    yield "Redis", _with_note(f"{str(binary.version).removeprefix('Redis ')}  ", f"({binary.path})")
    if binary.version.warning:
        yield "", Text(f"{binary.version.warning}. {binary.version.remedy}", "yellow")
    ports = f"jobs at 127.0.0.1:{urlsplit(stack.redis_url).port}, broker at 127.0.0.1:{urlsplit(stack.broker_url).port}"
    yield "", _with_note(f"{ports}  ", f"(with passwords: {env})")
    yield "Logs", str(plan.folder / "logs")
    yield "Check", f"{_command()} doctor --data {shlex.quote(str(plan.folder))}"


def _with_note(text: str, note: str, style: str = "dim") -> Text:
    return Text.assemble(text, (note, style))


def _command() -> str:
    """Return the command as the user can type it: in a checkout its folder is not on the PATH."""
    called = Path(sys.argv[0])
    in_folder = called.name == "boomerang-server" and not shutil.which(called.name)
    return str(called) if in_folder else "boomerang-server"
