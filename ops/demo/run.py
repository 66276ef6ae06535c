"""`boomerang-server demo`."""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from boomerang_client import BoomerangError, Client, Job, Status, StillRunning
from ops.commands.up import CANNOT_START, teller
from ops.demo import pictures, screen, sheet
from ops.demo.orders import Order, lines, orders, unacceptable
from ops.demo.verdict import Verdict, judge
from ops.local.loopback import get_json
from ops.local.signals import Ended, ending
from ops.local.stack import LocalStack, Options

#: A provider account with this many slots, and a polling that suits pictures that take seconds instead of a minute.
SETTINGS = {
    "BOOMERANG_MAX_IN_FLIGHT": "32",
    "BOOMERANG_POLL_FIRST": "8",
    "BOOMERANG_POLL_MAX": "5",
}
LIMIT = 300.0  # seconds; it takes about a quarter of that


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a run, and where it lies."""

    verdict: Verdict
    page: Path


def run(count: int, seed: int, out: Path, data: Path | None, sim: str) -> None:
    """Run the jobs, show what came back, and exit with 1 if a promise broke."""
    console = Console(highlight=False)
    now = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    # Faults are drawn by the ids. In a folder that is kept, the same ids would be the jobs of last time.
    name = f"demo-{seed}" if data is None else f"demo-{now}"
    out = out / now
    try:
        with _folder(data, out) as folder:
            options = Options(
                folder=folder, flower=False, simulator=f"--seed {seed} {sim}", settings=SETTINGS, warnings=False
            )
            stack = LocalStack(options, teller(console))
            with ending(stack.hurry):
                console.print("starting Redis, worker, beat, webhook and a simulated provider …", style="dim")
                with stack:
                    course = _run(console, stack, [*orders(name, count, seed), unacceptable(name)], out)
    except CANNOT_START as error:
        raise click.ClickException(str(error)) from None
    except BoomerangError as error:
        raise click.ClickException(f"{error} (logs: {out / 'logs'})") from None
    except Ended as ended:
        console.print("ended early; nothing is left running", style="dim")
        sys.exit(ended.exit_code)
    _conclude(console, course)


def _run(console: Console, stack: LocalStack, asked: Sequence[Order], out: Path) -> Course:
    with Client(stack.url, stack.key) as client:
        began = time.monotonic()
        accepted = client.enqueue_batch(list(lines(asked)), id=asked[0].id.rpartition("-")[0])
        turned_away = {error.line for error in accepted.errors}
        taken = [order for number, order in enumerate(asked, start=1) if number not in turned_away]
        try:
            with screen.watching(console, began) as show:
                client.wait(accepted.id, progress=show, timeout=LIMIT, every=0.25)
        except StillRunning as error:
            console.print(f"[red]{error}[/]")
        seconds = time.monotonic() - began
        jobs = {job.id: job for job in client.results(accepted.id)}
        cost = client.batch(accepted.id).cost
    ended = [job for job in jobs.values() if job.status is Status.COMPLETED]
    number = sum(len(job.output) for job in ended)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("fetching the pictures", total=number)
        fetched = pictures.fetch(ended, out, lambda: progress.advance(task))
    missing = sum(each is None for found in fetched.values() for each in found)
    verdict = judge(
        asked=[order.id for order in taken],
        refused=accepted.rejected,
        jobs=jobs,
        cost=cost,
        ledger=get_json(f"{stack.plan.url('simulator')}/_sim/ledger"),
        stats=get_json(f"{stack.plan.url('simulator')}/_sim/stats"),
        pictures=(number - missing, missing),
        seconds=seconds,
    )
    return Course(verdict, _write(out, taken, jobs, fetched, verdict))


def _write(
    out: Path,
    taken: Sequence[Order],
    jobs: Mapping[str, Job],
    fetched: Mapping[str, Sequence[pictures.Picture | None]],
    verdict: Verdict,
) -> Path:
    small = pictures.references(out)
    cards = []
    with (out / "results.jsonl").open("w", encoding="utf-8") as file:
        for order in taken:
            if order.id not in jobs:
                continue
            found = [each for each in fetched.get(order.id, ()) if each is not None]
            line = {**jobs[order.id].raw, "prompt": order.prompt, "files": [each.file for each in found]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            cards.append(sheet.Card(order, jobs[order.id], found, [small[name] for name in order.photographs]))
    return sheet.write(out, cards, verdict)


def _conclude(console: Console, course: Course) -> None:
    console.print()
    console.print(screen.table(course.verdict))
    console.print()
    console.print("Look at it:", style="bold", end=" ")
    console.print(course.page.resolve().as_uri(), soft_wrap=True)
    for promise in course.verdict.broken:
        console.print(f"[bold red]A promise broke: {promise}[/]")
    if course.verdict.broken:
        sys.exit(1)


@contextmanager
def _folder(given: Path | None, out: Path) -> Iterator[Path]:
    """The stack's folder: the one given, or a temporary one, of which the logs are kept with the results."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="boomerang-") as temporary:
        try:
            yield Path(temporary)
        finally:
            out.mkdir(parents=True, exist_ok=True)
            logs = Path(temporary, "logs")
            if logs.exists():
                shutil.move(logs, out / "logs")
