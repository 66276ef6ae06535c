"""`python -m ops.bench`: run all benchmarks and print the table."""

import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ops.bench.callbacks import acknowledgement
from ops.bench.fairness import admission, start_delay
from ops.bench.harness import stack
from ops.bench.images import PICTURES, SIZE, shared_pictures
from ops.bench.million import million
from ops.bench.rates import plain_recipe, whole_path
from ops.bench.state import weigh

#: A generation of this many seconds is slow enough for a held worker to hurt.
SLOW = 10
BATCHES = 100
SLOTS = 16
CALLBACK_RATE = 300
SHARING, SENT = 10_000, 16
LIMIT = 50


class Report:
    """Rows of the table, printed at the end; progress on the way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[tuple[str, str, str]] = []

    def step(self, what: str) -> None:
        """Say what is being measured."""
        self._console.print(f"measuring {what} …", style="dim")

    def row(self, what: str, figure: str, aim: str = "") -> None:
        """One line of the result."""
        self._rows.append((what, figure, aim))

    def table(self) -> None:
        """Print all."""
        table = Table("what", "measured", "aim", title="Boomerang's benchmarks (docs/explanation/benchmarks.md)")
        for row in self._rows:
            table.add_row(*row)
        self._console.print(table)


@click.command()
@click.option("--jobs", default=3000, show_default=True, help="Jobs of a rate measurement.")
@click.option("--runs", default=3, show_default=True, help="Runs of a rate measurement; the best of each counts.")
@click.option("--million", "large", default=1_000_000, show_default=True, help="Jobs of the largest batch; 0: none.")
@click.option("--weighed", default=100_000, show_default=True, help="Jobs in flight when Redis is weighed.")
def main(jobs: int, runs: int, weighed: int, large: int) -> None:
    """Measure, and print a table."""
    report = Report(Console())
    with tempfile.TemporaryDirectory(prefix="boomerang-bench-") as name:
        folder = Path(name)
        _rates(report, folder, jobs, runs)
        _slow(report, folder, jobs)
        _slots(report, folder)
        _fairness(report, folder, weighed)
        _images(report, folder)
        report.step(f"the state, with {weighed:,} jobs")
        state = weigh(folder / "state", weighed)
        if large:
            _million(report, folder, large)
    report.row("checked and enqueued by one process, 500 a call", f"{state.rate:,.0f} jobs/s", "≥ 20,000")
    report.row(f"Redis a job in flight, beyond its text, at {weighed:,}", f"{state.size:,.0f} bytes", "≤ 700")
    report.table()


def _rates(report: Report, folder: Path, jobs: int, runs: int) -> None:
    with stack(folder / "fast", "--latency 0") as running:
        report.step("the bare recipe and the whole path, in turn")
        bare, whole = [], []
        for turn in range(runs):
            bare.append(plain_recipe(running, "bare.post", jobs))
            whole.append(whole_path(running, jobs, f"whole-{turn}"))
        report.step(f"callbacks at {CALLBACK_RATE} a second")
        told = acknowledgement(running, CALLBACK_RATE, 10)
    report.row("bare Celery task that only submits (requests.post)", f"{max(bare):,.0f} jobs/s")
    report.row("whole path: upload, submit, callback, final state", f"{max(whole):,.0f} jobs/s")
    report.row("whole path : bare task", f"{max(whole) / max(bare):.2f}", "≥ 1.5")
    figure = f"p50 {told.p50:.1f} ms, p99 {told.p99:.1f} ms" + (f", {told.refused} refused" if told.refused else "")
    report.row(f"callback acknowledged at {CALLBACK_RATE}/s", figure, "p99 ≤ 50 ms")


def _slow(report: Report, folder: Path, jobs: int) -> None:
    report.step(f"the polling recipe and the whole path at {SLOW} s of generation")
    with stack(folder / "slow", f"--latency {SLOW}") as running:
        polling = plain_recipe(running, "bare.until_done", 2 * SLOTS)
        ours = whole_path(running, jobs, "slow")
    report.row(f"submit-and-poll recipe, {SLOTS} slots, {SLOW} s of generation", f"{polling:,.1f} jobs/s")
    report.row("whole path, the same generation", f"{ours:,.0f} jobs/s")
    report.row("whole path : submit-and-poll recipe", f"{ours / polling:,.0f}")


def _slots(report: Report, folder: Path) -> None:
    report.step(f"{LIMIT} slots, each for a second a job")
    options = f"--latency 1 --slots {LIMIT}"
    with stack(folder / "slots", options, {"BOOMERANG_MAX_IN_FLIGHT": str(LIMIT)}) as running:
        rate = whole_path(running, 20 * LIMIT, "slots")
    report.row(f"{LIMIT} slots, one second of generation: slots in use", f"{rate / LIMIT:.0%}")


def _images(report: Report, folder: Path) -> None:
    mb = 1_000_000
    report.step(f"{SHARING:,} jobs that share {PICTURES} pictures of {SIZE // mb} MB")
    did = shared_pictures(folder / "images", SHARING, SENT)
    name = f"{did.jobs:,} jobs that name {PICTURES} stored pictures of {SIZE // mb} MB"
    report.row(f"{name}, enqueued in one request", f"{did.enqueued:,.0f} jobs/s")
    report.row("Redis: these pictures and jobs", f"{did.redis / mb:,.0f} MB", "one copy of each")
    report.row("the web process: before, at its peak", f"{did.web_before / mb:,.0f} → {did.web_peak / mb:,.0f} MB")
    grown = f"{did.worker_before / mb:,.0f} → {did.worker_peak / mb:,.0f} MB"
    report.row(f"the worker that submits {did.sent} of such jobs: before, at its peak", grown, "one copy of each")


def _fairness(report: Report, folder: Path, waiting: int) -> None:
    report.step(f"admission with {waiting:,} jobs waiting")
    taken = admission(folder / "admission", waiting, BATCHES)
    delay = start_delay(folder / "delay", waiting, LIMIT)
    few = f"{taken.alone:,.0f} µs"
    report.row("one job admitted and claimed, 2,000 waiting in one batch", few)
    report.row(f"the same, {waiting:,} waiting in {BATCHES} batches", f"{taken.crowded:,.0f} µs")
    report.row(f"ten jobs behind {BATCHES} batches: others admitted before the last of them", f"{taken.ahead:,}")
    report.row(f"ten jobs behind one batch of {waiting:,}, {LIMIT} slots: begun after", f"{delay:.1f} s", "seconds")


def _million(report: Report, folder: Path, jobs: int) -> None:
    report.step(f"a batch of {jobs:,}")
    did = million(folder / "million", jobs)
    mb = 1_000_000
    report.row(f"{did.jobs:,} jobs enqueued in one request", f"{did.enqueued:,.0f} jobs/s")
    grown = f"{did.memory_before / mb:,.0f} → {did.memory_peak / mb:,.0f} MB"
    report.row("memory of the web process: before, at its peak", grown, "flat")
    report.row("Redis a waiting job, its text included", f"{did.redis_a_job:,.0f} bytes")
    report.row("the batch paused", f"after {did.paused_in * 1000:,.0f} ms")
    report.row("its results read as NDJSON", f"{did.results:,.0f} lines/s")
    report.row("the batch cancelled: nothing of it is sent any more", f"after {did.cancel_answered * 1000:,.0f} ms")
    report.row("the same: every job's record says so", f"after {did.cancelled_in:,.0f} s")


if __name__ == "__main__":
    main()
