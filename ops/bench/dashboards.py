"""Benchmark of the dashboard: `python -m ops.bench.dashboards`, also part of `make bench`.

What each page asks of Redis, with a hundred jobs and with a million; and what open dashboards cost the whole path.
"""

import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from secrets import token_urlsafe
from statistics import median
from typing import Any, Self

import click
import requests
from flask import Flask
from redis.connection import AbstractConnection
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.table import Table
from urllib3.util import Retry

from jobs.api_keys import PRODUCER, KeyRing, Scope
from jobs.store.store import Store
from ops.bench.harness import stack
from ops.bench.lists import count_commands, filled
from ops.bench.probe import CPU, process_costs
from ops.bench.rates import whole_path
from ops.local.stack import LocalStack
from webhook.app import create_app
from webhook.settings import Settings

FEW = 100
#: Of a page: the best time of so many requests counts.
RUNS = 5
#: Pages, with their filters. Jobs and batches are those of `ops.bench.lists`.
PAGES = (
    "/",
    "/last-hour",
    "/batches",
    "/batches?status=running",
    "/batches/{batch}",
    "/batches/{batch}/images",
    "/jobs",
    "/jobs?status=failed",
    "/jobs?class=moderation",
    "/jobs?label=city%3Drome",
    "/jobs?model=other",
    "/jobs?search={job}",
    "/jobs/{job}",
    "/lanes",
    "/lanes/default",
    "/spending",
    "/deliveries",
    "/needs-a-person",
    "/bulk",
    "/keys",
)
#: The producer with one in ten of the jobs, and an administrator.
PRODUCER_NAME, ADMIN_NAME = "press", "boss"
#: Open pages while the whole path is measured.
WARM_UP = "warm-up"
OPEN = ("/", "/batches", f"/batches/{WARM_UP}", "/jobs", "/lanes")
_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_LIVE = re.compile(r'data-live="(\d+)" hx-get="([^"]+)"')
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class PageCost:
    """What a page costs: milliseconds, requests to Redis, and commands of Redis, those of scripts included."""

    ms: float
    round_trips: int
    commands: int


@contextmanager
def counted_trips(trips: Counter[str]) -> Iterator[None]:
    """Count what is sent to Redis. A pipeline is sent at once."""
    connection_type: Any = AbstractConnection
    send = connection_type.send_packed_command

    def counting(connection: Any, *args: Any, **options: Any) -> Any:
        trips["sent"] += 1
        return send(connection, *args, **options)

    connection_type.send_packed_command = counting
    try:
        yield
    finally:
        connection_type.send_packed_command = send


def measure_pages(folder: Path, jobs: int) -> dict[tuple[str, str], PageCost]:
    """Return what each page costs with so many jobs, by the caller's name and the page."""
    found: dict[tuple[str, str], PageCost] = {}
    with filled(folder, jobs) as store:
        url = store.context.client.connection_pool.connection_kwargs
        address = f"redis://:{url['password']}@{url['host']}:{url['port']}/0"
        settings = Settings(redis_url=address, broker_url=address, session_secret=token_urlsafe(32))
        app = create_app(settings, store, lambda *_: True)
        ring = KeyRing(store.context.client, store.context.keys)
        for name, scopes in ((ADMIN_NAME, [Scope.ADMIN]), (PRODUCER_NAME, PRODUCER)):
            _, secret = ring.add(name, scopes)
            for page in PAGES:
                if cost := _measure_page(app, store, secret, page):
                    found[name, page] = cost
    return found


def _measure_page(app: Flask, store: Store, secret: str, page: str) -> PageCost | None:
    browser = app.test_client()
    token = _TOKEN.findall(browser.get("/login").text)[0]
    browser.post("/login", data={"csrf_token": token, "key": secret})
    # The first jobs are the small producer's. An administrator names the producer as well.
    address = page.format(batch=f"b0@{PRODUCER_NAME}", job=f"job-0@{PRODUCER_NAME}")
    times, trips, commands = list[float](), Counter[str](), 0
    for turn in range(RUNS + 1):
        before = count_commands(store.context.client)
        with counted_trips(trips):
            begin = time.perf_counter()
            answer = browser.get(address)
            took = time.perf_counter() - begin
        if answer.status_code == _FORBIDDEN:
            return None
        if answer.status_code != requests.codes.ok:
            raise RuntimeError(f"{address} was answered with {answer.status_code}")
        if turn == 0:
            trips.clear()  # the first request fills caches
            continue
        commands = count_commands(store.context.client) - before
        times.append(took)
    return PageCost(min(times) * 1000, round(trips["sent"] / RUNS), commands)


class Dashboards:
    """People with open dashboards, whose pages update themselves as the script of the pages does (static/live.js)."""

    def __init__(self, url: str, key: str, pages: Sequence[str]) -> None:
        self._url, self._key = url, key
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(page,)) for page in pages]
        #: Answers by status, and requests that failed.
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, page: str) -> None:
        with requests.Session() as browser:
            # As browsers do, where the server has closed an idle connection just now.
            browser.mount("http://", HTTPAdapter(max_retries=Retry(2)))
            token = _TOKEN.findall(browser.get(f"{self._url}/login", timeout=30).text)[0]
            browser.post(f"{self._url}/login", data={"csrf_token": token, "key": self._key}, timeout=30)
            shown = browser.get(self._url + page, timeout=30)
            self.answers[str(shown.status_code)] += 1
            # Address of a part → seconds between two updates, and when the next one is due.
            seconds = {unescape(part): int(each) for each, part in _LIVE.findall(shown.text)}
            due = {part: time.monotonic() + each for part, each in seconds.items()}
            while due and not self._stop.wait(max(0.0, min(due.values()) - time.monotonic())):
                part = min(due, key=lambda each: due[each])
                try:
                    answer = browser.get(self._url + part, headers={"HX-Request": "true"}, timeout=30)
                    self.answers[str(answer.status_code)] += 1
                except requests.RequestException as error:
                    self.answers[type(error).__name__] += 1
                due[part] = time.monotonic() + seconds[part]


@dataclass
class Watched:
    """Runs of the whole path: jobs per second, and CPU µs a job of each process."""

    rates: list[float] = field(default_factory=list)
    costs: list[dict[str, float]] = field(default_factory=list)

    def cpu(self, name: str | None = None) -> list[float]:
        """Return the CPU µs a job of a process, or of all, for each run."""
        return [sum(cost for process, cost in run.items() if name in (None, process)) for run in self.costs]


@dataclass(frozen=True, slots=True)
class Beside:
    """The whole path without and with open dashboards, and what these were answered."""

    alone: Watched
    watched: Watched
    answers: Counter[str]


def measure_beside(folder: Path, dashboards: int, jobs: int, turns: int) -> Beside:
    """Measure the whole path without and with open dashboards, in turn."""
    alone, watched, answers = Watched(), Watched(), Counter[str]()
    with stack(folder, "--latency 0") as running:
        whole_path(running, min(jobs, 500), WARM_UP)
        for turn in range(turns):
            for into in (alone, watched)[:: 1 if turn % 2 == 0 else -1]:
                batch = f"run-{turn}-{'alone' if into is alone else 'watched'}"
                with ExitStack() as open_pages:
                    if into is watched:
                        pages = [OPEN[each % len(OPEN)] for each in range(dashboards)]
                        people = open_pages.enter_context(Dashboards(running.url, running.key, pages))
                    _add_run(into, running, jobs, batch)
                if into is watched:
                    answers.update(people.answers)
    return Beside(alone, watched, answers)


def _add_run(into: Watched, running: LocalStack, jobs: int, batch: str) -> None:
    before = process_costs(running.pids())
    into.rates.append(whole_path(running, jobs, batch))
    spent = process_costs(running.pids())
    spent.subtract(before)
    into.costs.append({name: value / jobs for (name, what), value in spent.items() if what == CPU})


def pages_table(few: dict[tuple[str, str], PageCost], many: dict[tuple[str, str], PageCost], jobs: int) -> Table:
    """Return the table of pages, with few jobs and with many."""
    table = Table("page", "caller", "round trips", "commands", "ms", "ms, ratio", title=f"{FEW} jobs → {jobs:,} jobs")
    for (name, page), before in few.items():
        after = many[name, page]
        table.add_row(
            page,
            "admin" if name == ADMIN_NAME else "producer",
            f"{before.round_trips} → {after.round_trips}",
            f"{before.commands} → {after.commands}",
            f"{before.ms:.1f} → {after.ms:.1f}",
            f"{after.ms / before.ms:.1f}",
        )
    return table


def rows_of(found: Beside, dashboards: int) -> Iterator[tuple[str, str, str]]:
    """Yield the rows about open dashboards: what, figure, aim."""
    best = max(found.watched.rates) / max(found.alone.rates)
    middle = median(found.watched.rates) / median(found.alone.rates)
    name = f"whole path, without and with {dashboards} open dashboards"
    rates = f"{max(found.alone.rates):,.0f}, {max(found.watched.rates):,.0f} jobs/s"
    yield name, f"{rates} ({best:.2f}; medians {middle:.2f})", "≥ 0.95"
    for process in (None, "webhook", "redis"):
        alone, watched = found.alone.cpu(process), found.watched.cpu(process)
        ratios = f"{min(watched) / min(alone):.2f}; medians {median(watched) / median(alone):.2f}"
        figure = f"{min(alone):,.0f}, {min(watched):,.0f} µs ({ratios})"
        yield f"the same: CPU time a job of {process or 'all processes'}", figure, ""
    yield "answers to the dashboards", ", ".join(f"{count} × {each}" for each, count in found.answers.items()), ""


def compare_pages(folder: Path, jobs: int, step: Callable[[str], None]) -> Table:
    """Measure all pages with few and with many jobs."""
    step(f"the pages with {FEW} jobs")
    few = measure_pages(folder / "few", FEW)
    step(f"the pages with {jobs:,} jobs")
    return pages_table(few, measure_pages(folder / "many", jobs), jobs)


@click.command()
@click.option("--jobs", default=1_000_000, show_default=True, help="Number of jobs in the large Redis; 0: skip it.")
@click.option("--dashboards", default=20, show_default=True, help="Number of open dashboards; 0: skip them.")
@click.option("--run", default=4000, show_default=True, help="Number of jobs in each run of the whole path.")
@click.option("--turns", default=3, show_default=True, help="Runs without dashboards, and with them.")
def main(jobs: int, dashboards: int, run: int, turns: int) -> None:
    """Measure what the pages cost, and what open dashboards cost the whole path."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="boomerang-bench-") as name:
        if jobs:
            console.print(compare_pages(Path(name), jobs, lambda what: console.print(f"measuring {what} …")))
        if dashboards:
            table = Table("measurement", "result", "aim")
            for row in rows_of(measure_beside(Path(name) / "stack", dashboards, run, turns), dashboards):
                table.add_row(*row)
            console.print(table)


if __name__ == "__main__":
    main()
