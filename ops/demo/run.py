"""Run the demo: start a stack, enqueue the jobs, wait, download the images, and check the promises."""

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
from ops.commands.up import CANNOT_START, print_summary, reporter, wait
from ops.demo import images, screen, sheet
from ops.demo.demo_jobs import DemoJob, make_jobs, make_rejected_job, to_ndjson
from ops.demo.verdict import Verdict, judge
from ops.local.console import SafeConsole
from ops.local.loopback import get_json, put_json, responds
from ops.local.signals import StopRequested, stop_on_signal
from ops.local.stack import LocalStack, Options

#: 32 slots at the provider, and polling for images that take seconds instead of a minute.
SETTINGS = {
    "BOOMERANG_MAX_IN_FLIGHT": "32",
    "BOOMERANG_POLL_FIRST": "8",
    "BOOMERANG_POLL_MAX": "5",
}
#: Seconds. A run usually takes a quarter of this.
LIMIT = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of a run, and its contact sheet."""

    verdict: Verdict
    page: Path


def run(count: int, seed: int, out: Path, data: Path | None, sim: str, *, stay: bool = False) -> None:
    """Run the jobs and show the results. Exits with 1 if a promise was broken. `stay`: only after Ctrl-C."""
    console = SafeConsole()
    now = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    # The same ids bring the same faults. In a folder that is kept, they would be the jobs of the last run.
    name = f"demo-{seed}" if data is None else f"demo-{now}"
    out = out / now
    outcome: Outcome | None = None
    report = reporter(console)
    try:
        with _folder(data, out) as folder:
            options = Options(
                folder=folder, flower=False, simulator=f"--seed {seed} {sim}", settings=SETTINGS, warnings=False
            )
            stack = LocalStack(options, report)
            with stop_on_signal(stack.stop_now):
                console.print("Starting the service with a simulated provider …", style="dim", soft_wrap=True)
                with stack:
                    if stay:
                        console.print(f"Watch it: {stack.url}/  Log in with the key {stack.key}", soft_wrap=True)
                    outcome = _run(console, stack, [*make_jobs(name, count, seed), make_rejected_job(name)], out)
                    _show(console, outcome)
                    if stay:
                        print_summary(console, stack)
                        wait(console, stack, report)
    except CANNOT_START as error:
        raise click.ClickException(str(error)) from None
    except BoomerangError as error:
        raise click.ClickException(f"{error} (logs: {out / 'logs'})") from None
    except StopRequested as stopped:
        early = " early" if outcome is None else ""
        console.print(f"Stopped{early}. All processes have ended.", style="dim")
        if outcome is None:
            sys.exit(stopped.exit_code)
    if outcome is None or outcome.verdict.broken:
        sys.exit(1)


def _run(console: Console, stack: LocalStack, jobs: Sequence[DemoJob], out: Path) -> Outcome:
    with Client(stack.url, stack.key) as client:
        began = time.monotonic()
        accepted = client.enqueue_batch(list(to_ndjson(jobs)), id=jobs[0].id.rpartition("-")[0])
        rejected = {error.line for error in accepted.errors}
        enqueued = [job for number, job in enumerate(jobs, start=1) if number not in rejected]
        try:
            with screen.watching(console, began) as show:
                client.wait(accepted.id, progress=show, timeout=LIMIT, every=0.25)
        except StillRunning as error:
            console.print(str(error), style="red")
        seconds = time.monotonic() - began
        results = _wait_until_saved(console, client, accepted.id)
        cost = client.batch(accepted.id).cost
        completed = [job for job in results.values() if job.status is Status.COMPLETED]
        not_deleted = _delete_at_provider(stack.plan.url("simulator"), completed)
        number = sum(len(job.output) for job in completed)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Fetching the saved images", total=number)
            saved = images.fetch(client, completed, out, lambda: progress.advance(task))
    missing = sum(each is None for found in saved.values() for each in found)
    verdict = judge(
        accepted=[job.id for job in enqueued],
        rejected=accepted.rejected,
        jobs=results,
        cost=cost,
        ledger=get_json(f"{stack.plan.url('simulator')}/_sim/ledger"),
        stats=get_json(f"{stack.plan.url('simulator')}/_sim/stats"),
        images=(number - missing, missing),
        not_deleted=not_deleted,
        seconds=seconds,
    )
    return Outcome(verdict, _write(out, enqueued, results, saved, verdict))


def _wait_until_saved(console: Console, client: Client, batch: str) -> dict[str, Job]:
    """Wait until the service has saved the results of all completed jobs. Return the jobs of the batch."""
    end = time.monotonic() + LIMIT
    with console.status("Waiting until all images are saved …"):
        while True:
            results = {job.id: job for job in client.results(batch)}
            outputs = [each for job in results.values() if job.status is Status.COMPLETED for each in job.output]
            if all(each.saved_at for each in outputs) or time.monotonic() >= end:
                return results
            time.sleep(1)


def _delete_at_provider(simulator: str, completed: Sequence[Job]) -> int:
    """Let the provider delete its images, and return how many it still has."""
    put_json(f"{simulator}/_sim/faults", {"expire_images": 0.001})
    return sum(responds(each.source_url or each.url)() for job in completed for each in job.output)


def _write(
    out: Path,
    enqueued: Sequence[DemoJob],
    results: Mapping[str, Job],
    saved: Mapping[str, Sequence[images.SavedImage | None]],
    verdict: Verdict,
) -> Path:
    small = images.make_references(out)
    cards = []
    with (out / "results.jsonl").open("w", encoding="utf-8") as file:
        for job in enqueued:
            if job.id not in results:
                continue
            found = [each for each in saved.get(job.id, ()) if each is not None]
            line = {**results[job.id].raw, "prompt": job.prompt, "files": [each.file for each in found]}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            cards.append(sheet.Card(job, results[job.id], found, [small[name] for name in job.photographs]))
    return sheet.write(out, cards, verdict)


def _show(console: Console, outcome: Outcome) -> None:
    console.print()
    console.print(screen.table(outcome.verdict))
    console.print()
    console.print("Contact sheet:", style="bold", end=" ")
    console.print(outcome.page.resolve().as_uri(), soft_wrap=True)
    for promise in outcome.verdict.broken:
        console.print(f"A promise was broken: {promise}", style="bold red")


@contextmanager
def _folder(given: Path | None, out: Path) -> Iterator[Path]:
    """Yield the folder of the stack: the one given, or a temporary one whose logs are then moved to the results."""
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
