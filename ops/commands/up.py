"""`boomerang-server up`: the whole service on this machine until Ctrl-C."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table

from jobs.lanes import PROVIDER_KEY
from ops.local import redis_binary
from ops.local.data_folder import FolderInUse, PortTaken, keep_environment, write_private
from ops.local.processes import for_the_doctor
from ops.local.redis_server import RedisCannotStart
from ops.local.signals import Ended, ending
from ops.local.stack import LocalStack, Options
from ops.local.supervisor import Report, StartFailed

CANNOT_START = (FolderInUse, PortTaken, RedisCannotStart, StartFailed)
EXAMPLE = {"model": "kirin_image_omni", "prompt": "a boomerang over the sea at dawn"}


def run(data: Path, port: int | None, sim: str, *, flower: bool) -> None:
    """Run the stack until Ctrl-C."""
    real = any(value.strip() for name, value in os.environ.items() if name.startswith(PROVIDER_KEY))
    if real and sim:
        raise click.UsageError("--sim is for the simulator, which does not run where BOOMERANG_PROVIDER_KEY is set.")
    console = Console(highlight=False)
    if os.environ.get("BOOMERANG_REDIS_URL"):
        console.print("[yellow]BOOMERANG_REDIS_URL is set, but this stack runs a Redis of its own.[/]")
    # Its Redis writes each command to the disk before it answers: after a restart nothing is to be looked for.
    settings = {"BOOMERANG_RECOVERY": os.environ.get("BOOMERANG_RECOVERY") or "off"}
    options = Options(folder=data, port=port, flower=flower, simulator=None if real else sim, settings=settings)
    stack = LocalStack(options, teller(console))
    try:
        with ending(stack.hurry):
            console.print("starting …", style="dim")
            with stack:
                welcome(console, stack)
                try:
                    stack.wait()
                finally:
                    console.print("stopping, in order … (Ctrl-C once more: at once)", style="dim")
    except CANNOT_START as error:
        raise click.ClickException(str(error)) from None
    except Ended:
        console.print("stopped; nothing is left running", style="dim")


def teller(console: Console) -> Report:
    """What happens to the children, a line each."""

    def tell(who: str, what: str) -> None:
        console.print(f"[yellow]{who:>9}[/] ", end="")
        console.print(what, markup=False, style="dim", soft_wrap=True)

    return tell


def welcome(console: Console, stack: LocalStack) -> None:
    """Where everything is, and how to begin."""
    plan = stack.plan
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("Boomerang", f"{stack.url}  [dim](API: {stack.url}/docs, log in with the key)[/]")
    if plan.flower:
        table.add_row("Flower", f"{plan.url('flower')}  [dim](boomerang / {plan.secrets.flower_password})[/]")
    if plan.simulator is not None:
        table.add_row("Provider", f"{plan.url('simulator')}  [yellow]simulated: BOOMERANG_PROVIDER_KEY is not set[/]")
    else:
        table.add_row("Provider", "[green]the real one: jobs cost money[/]")
        if plan.public_url is None:
            table.add_row("Callbacks", "[yellow]none, polling only: BOOMERANG_PUBLIC_URL is not set[/]")
    table.add_row("Key", stack.key)
    ports = f"127.0.0.1:{urlsplit(stack.redis_url).port}, broker 127.0.0.1:{urlsplit(stack.broker_url).port}"
    binary = redis_binary.find(os.environ)
    table.add_row("Redis", f"{binary.version}  [dim]({binary.path})[/]")
    if binary.version.warning:
        table.add_row("", f"[yellow]{binary.version.warning}. {binary.version.remedy}[/]")
    table.add_row("", f"{ports}  [dim](their URLs are in {plan.folder / 'env'})[/]")
    table.add_row("Logs", str(plan.folder / "logs"))
    exports = f"export BOOMERANG_URL={stack.url} BOOMERANG_KEY={stack.key}"
    # For audit, doctor and the like; and for a service that sends Celery messages, which has a user of its own.
    urls = {"REDIS": stack.redis_url, "BROKER": stack.broker_url, "RESULT": stack.broker_url}
    urls["PRODUCER"] = stack.broker_urls["producer"]
    lines = [exports, *(f"export BOOMERANG_{name}_URL={url}" for name, url in urls.items())]
    write_private(plan.folder / "env", "".join(f"{line}\n" for line in lines))
    keep_environment(plan.folder, for_the_doctor(plan, stack.redis_url, stack.broker_url))
    console.print()
    console.print(table)
    console.print("\n[bold]In another terminal[/]  [dim](or: source[/]", str(plan.folder / "env") + "[dim])[/]")
    for line in (
        exports,
        'curl "$BOOMERANG_URL/v1/jobs" -H "Authorization: Bearer $BOOMERANG_KEY" \\',
        f"     -H 'Content-Type: application/json' -d '{json.dumps(EXAMPLE)}'",
    ):
        # Bare lines, never wrapped: they are there to be copied.
        console.print(line, markup=False, soft_wrap=True)
    console.print("\n[dim]Ctrl-C ends everything.[/]")
