"""`python -m ops.bench`: run all benchmarks and print the table."""

import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ops.bench.callbacks import measure_latency
from ops.bench.dashboards import compare_pages, measure_beside, rows_of
from ops.bench.deliveries import measure_hanging
from ops.bench.fairness import admission, start_delay
from ops.bench.harness import stack
from ops.bench.images import IMAGES, SIZE, shared_images
from ops.bench.million import million
from ops.bench.rates import plain_task, whole_path
from ops.bench.state import measure_state

#: Seconds of generation, long enough to show the cost of a worker that waits for it.
SLOW = 10
BATCHES = 100
SLOTS = 16
CALLBACK_RATE = 300
SHARING, SENT = 10_000, 16
#: Jobs whose notification hangs, and seconds for which another producer's jobs are measured meanwhile.
HANGING, MEASURED = 1_000, 30.0
LIMIT = 50
DASHBOARDS = 20


class Report:
    """The table of results, printed at the end, and messages about progress."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[tuple[str, str, str]] = []
        self._tables: list[Table] = []

    def step(self, what: str) -> None:
        """Print what is measured next."""
        self._console.print(f"measuring {what} …", style="dim")

    def row(self, what: str, figure: str, target: str = "") -> None:
        """Add a row to the table."""
        self._rows.append((what, figure, target))

    def add(self, table: Table) -> None:
        """Add a table of its own."""
        self._tables.append(table)

    def table(self) -> None:
        """Print the tables."""
        table = Table(
            "measurement", "result", "target", title="Boomerang's benchmarks (docs/explanation/benchmarks.md)"
        )
        for row in self._rows:
            table.add_row(*row)
        for each in (table, *self._tables):
            self._console.print(each)


@click.command()
@click.option("--jobs", default=3000, show_default=True, help="Number of jobs in each measurement of a rate.")
@click.option("--runs", default=3, show_default=True, help="Runs of each measurement of a rate; the best counts.")
@click.option(
    "--million", "large", default=1_000_000, show_default=True, help="Number of jobs in the largest batch; 0: skip it."
)
@click.option(
    "--in-flight",
    default=100_000,
    show_default=True,
    help="Number of jobs in flight when the memory of Redis is measured.",
)
def main(jobs: int, runs: int, in_flight: int, large: int) -> None:
    """Run all benchmarks and print a table."""
    report = Report(Console())
    with tempfile.TemporaryDirectory(prefix="boomerang-bench-") as name:
        folder = Path(name)
        _rates(report, folder, jobs, runs)
        _slow(report, folder, jobs)
        _slots(report, folder)
        _fairness(report, folder, in_flight)
        _hanging(report, folder)
        _images(report, folder)
        _dashboards(report, folder, jobs, runs, large)
        report.step(f"the jobs in Redis, with {in_flight:,} of them")
        state = measure_state(folder / "state", in_flight)
        if large:
            _million(report, folder, large)
    report.row("validated and enqueued by one process, 500 per call", f"{state.rate:,.0f} jobs/s", "≥ 20,000")
    report.row(
        f"Redis memory per job in flight without its request, with {in_flight:,} jobs",
        f"{state.size:,.0f} bytes",
        "≤ 700",
    )
    report.table()


def _rates(report: Report, folder: Path, jobs: int, runs: int) -> None:
    with stack(folder / "fast", "--latency 0") as running:
        report.step("the plain task and the whole path, in turn")
        plain, whole = [], []
        for turn in range(runs):
            plain.append(plain_task(running, "plain.post", jobs))
            whole.append(whole_path(running, jobs, f"whole-{turn}"))
        report.step(f"callbacks at {CALLBACK_RATE} per second")
        latency = measure_latency(running, CALLBACK_RATE, 10)
    report.row("plain Celery task that only submits (requests.post)", f"{max(plain):,.0f} jobs/s")
    report.row("whole path: upload, submit, callback, final state", f"{max(whole):,.0f} jobs/s")
    report.row("whole path ÷ plain task", f"{max(whole) / max(plain):.2f}", "≥ 1.5")
    figure = f"p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms" + (
        f", {latency.refused} refused" if latency.refused else ""
    )
    report.row(f"callback acknowledged at {CALLBACK_RATE}/s", figure, "p99 ≤ 50 ms")


def _slow(report: Report, folder: Path, jobs: int) -> None:
    report.step(f"the polling task and the whole path with {SLOW} s of generation")
    with stack(folder / "slow", f"--latency {SLOW}") as running:
        polling = plain_task(running, "plain.until_done", 2 * SLOTS)
        ours = whole_path(running, jobs, "slow")
    report.row(f"task that submits and polls, {SLOTS} threads, {SLOW} s of generation", f"{polling:,.1f} jobs/s")
    report.row(f"whole path, {SLOW} s of generation", f"{ours:,.0f} jobs/s")
    report.row("whole path ÷ task that submits and polls", f"{ours / polling:,.0f}")


def _slots(report: Report, folder: Path) -> None:
    report.step(f"{LIMIT} slots and one second of generation")
    options = f"--latency 1 --slots {LIMIT}"
    with stack(folder / "slots", options, {"BOOMERANG_MAX_IN_FLIGHT": str(LIMIT)}) as running:
        rate = whole_path(running, 20 * LIMIT, "slots")
    report.row(f"slots in use, of {LIMIT}, with one second of generation", f"{rate / LIMIT:.0%}")


def _images(report: Report, folder: Path) -> None:
    mb = 1_000_000
    report.step(f"{SHARING:,} jobs that share {IMAGES} images of {SIZE // mb} MB")
    found = shared_images(folder / "images", SHARING, SENT)
    name = f"{found.jobs:,} jobs that refer to {IMAGES} stored images of {SIZE // mb} MB"
    report.row(f"{name}, enqueued in one request", f"{found.enqueued:,.0f} jobs/s")
    report.row("Redis memory of these images and jobs", f"{found.redis / mb:,.0f} MB", "one copy of each")
    report.row(
        "memory of the web process, before → peak", f"{found.web_before / mb:,.0f} → {found.web_peak / mb:,.0f} MB"
    )
    grown = f"{found.worker_before / mb:,.0f} → {found.worker_peak / mb:,.0f} MB"
    report.row(f"memory of the worker that submits {found.sent} such jobs, before → peak", grown, "one copy of each")


def _dashboards(report: Report, folder: Path, jobs: int, runs: int, large: int) -> None:
    report.step(f"the whole path without and with {DASHBOARDS} open dashboards, in turn")
    for row in rows_of(measure_beside(folder / "watched", DASHBOARDS, jobs, runs), DASHBOARDS):
        report.row(*row)
    if large:
        report.add(compare_pages(folder / "pages", large, report.step))


def _hanging(report: Report, folder: Path) -> None:
    report.step(f"a producer's jobs beside {HANGING:,} notifications that hang")
    alone, beside = measure_hanging(folder / "hanging", HANGING, MEASURED)
    report.row("jobs of a producer that is alone", alone.text())
    report.row(f"beside {HANGING:,} cancelled jobs of another one, whose address hangs", beside.text(), "the same")
    report.row("requests that the hanging address received meanwhile", f"{beside.connections}", "≤ 15")


def _fairness(report: Report, folder: Path, waiting: int) -> None:
    report.step(f"admission with {waiting:,} jobs waiting")
    cost = admission(folder / "admission", waiting, BATCHES)
    delay = start_delay(folder / "delay", waiting, LIMIT)
    report.row("admit and claim a job, 2,000 waiting in one batch", f"{cost.alone:,.0f} µs")
    report.row(f"the same with {waiting:,} waiting in {BATCHES} batches", f"{cost.crowded:,.0f} µs")
    report.row(f"ten jobs behind {BATCHES} batches: other jobs admitted before the last of the ten", f"{cost.ahead:,}")
    report.row("the same, the ten another key's, all others of a higher priority", f"{cost.ahead_of_key:,}")
    report.row(f"ten jobs behind a batch of {waiting:,}, {LIMIT} slots: submitted after", f"{delay:.1f} s", "seconds")


def _million(report: Report, folder: Path, jobs: int) -> None:
    report.step(f"a batch of {jobs:,}")
    found = million(folder / "million", jobs)
    mb = 1_000_000
    report.row(f"{found.jobs:,} jobs enqueued in one request", f"{found.enqueued:,.0f} jobs/s")
    grown = f"{found.memory_before / mb:,.0f} → {found.memory_peak / mb:,.0f} MB"
    report.row("memory of the web process, before → peak", grown, "flat")
    report.row("Redis memory per waiting job with its request", f"{found.redis_a_job:,.0f} bytes")
    report.row("the batch is paused", f"after {found.paused_in * 1000:,.0f} ms")
    report.row("its results are read as NDJSON", f"{found.results:,.0f} lines/s")
    report.row("the batch is cancelled: no further job is submitted", f"after {found.cancel_answered * 1000:,.0f} ms")
    report.row("the batch is cancelled: every job has that state", f"after {found.cancelled_in:,.0f} s")


if __name__ == "__main__":
    main()
