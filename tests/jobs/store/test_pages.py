"""Lists by label, state and time are complete and without repeats while jobs change, at a constant cost."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from jobs.job_filter import JobFilter
from jobs.new_job import BatchOptions
from jobs.read_models import Progress
from jobs.states import State
from jobs.store import job_lists
from jobs.store.pages import Filter
from jobs.units import from_micros
from tests.support.bench import Bench, MakeJob

BERLIN, ROME = {"shop": "berlin"}, {"shop": "rome"}


@pytest.fixture
def shops(bench: Bench, make: MakeJob) -> Any:
    """Twelve jobs of a batch, a second apart: every second with the label of Berlin, every third with summer."""
    for number in range(12):
        labels = (BERLIN if number % 2 == 0 else ROME) | ({"season": "sümmer=hot"} if number % 3 == 0 else {})
        bench.store.jobs.enqueue([make(f"j{number}", labels=labels)], "b")
        bench.forward(1)
    bench.store.jobs.enqueue([make("plain")])
    return bench


def all_pages(page: Callable[..., Any], limit: int, between: Callable[[], object] = lambda: None) -> list[str]:
    """Return the ids on all pages of a list. Call `between` after each page."""
    ids: list[str] = []
    cursor = None
    while True:
        found = page(cursor=cursor, limit=limit)
        ids += [each.id for each in getattr(found, "jobs", None) or getattr(found, "batches", ())]
        assert len(found.jobs if hasattr(found, "jobs") else found.batches) <= limit
        between()
        if found.cursor is None:
            return ids
        cursor = found.cursor


def numbered(*numbers: int) -> list[str]:
    return [f"j{number}" for number in numbers]


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize(
    ("labels", "ids"),
    [
        (BERLIN, numbered(10, 8, 6, 4, 2, 0)),
        (ROME, numbered(11, 9, 7, 5, 3, 1)),
        (BERLIN | {"season": "sümmer=hot"}, numbered(6, 0)),
        (BERLIN | {"season": "winter"}, []),
        ({"shop": "paris"}, []),
    ],
)
def test_jobs_are_listed_by_label(labels: dict[str, str], ids: list[str], limit: int, shops: Any) -> None:
    only = JobFilter(labels=labels)
    assert all_pages(lambda **where: shops.store.jobs.page(only, **where), limit) == ids
    assert all_pages(lambda **where: shops.store.jobs.page(replace(only, batch="b"), **where), limit) == ids[::-1]


def test_jobs_are_listed_by_label_and_state(shops: Any) -> None:
    shops.store.jobs.cancel("j4")
    shops.store.jobs.cancel("j5")
    assert [job.id for job in shops.store.jobs.page(JobFilter(states=[State.CANCELLED], labels=BERLIN)).jobs] == ["j4"]
    assert "j4" not in all_pages(
        lambda **w: shops.store.jobs.page(JobFilter(states=[State.QUEUED], labels=BERLIN), **w), 2
    )
    of_batch = shops.store.jobs.page(JobFilter(batch="b", states=[State.CANCELLED], labels=ROME))
    assert [job.id for job in of_batch.jobs] == ["j5"]


@pytest.mark.parametrize("labels", [{}, BERLIN])
@pytest.mark.parametrize("limit", [1, 100])
def test_jobs_are_listed_by_time(labels: dict[str, str], limit: int, shops: Any) -> None:
    third, ninth = (shops.store.jobs.get(f"j{number}").created_at for number in (3, 9))
    window = JobFilter(labels=labels, since=third, before=ninth)
    ids = numbered(8, 7, 6, 5, 4, 3) if not labels else numbered(8, 6, 4)
    assert all_pages(lambda **where: shops.store.jobs.page(window, **where), limit) == ids
    assert (
        all_pages(lambda **where: shops.store.jobs.page(replace(window, states=[State.QUEUED]), **where), limit) == ids
    )
    assert all_pages(lambda **where: shops.store.jobs.page(replace(window, batch="b"), **where), limit) == ids[::-1]
    later = JobFilter(labels=labels, since=ninth + timedelta(days=1))
    assert shops.store.jobs.page(later).jobs == ()


def test_a_list_is_complete_and_without_repeats_while_jobs_change(shops: Any, make: MakeJob) -> None:
    changes: list[str] = []

    def change() -> None:
        # A job that was listed and one that is still to come change their state; a new job appears
        for number in ((10 - 2 * len(changes)) % 12, 2 * len(changes) % 12):
            if shops.store.jobs.get(f"j{number}").state is State.QUEUED:
                shops.store.jobs.cancel(f"j{number}")
        changes.append("x")
        shops.store.jobs.enqueue([make(f"new{len(changes)}", labels=BERLIN)])

    assert all_pages(lambda **where: shops.store.jobs.page(JobFilter(labels=BERLIN), **where), 1, change) == numbered(
        10, 8, 6, 4, 2, 0
    )


def test_purged_jobs_leave_all_lists(shops: Any) -> None:
    short = shops.with_settings(retention=60)
    shops.store.batches.cancel("b")
    shops.store.jobs.cancel("plain")
    shops.forward(100)
    while sum(short.jobs.purge(5)):
        pass
    assert shops.store.jobs.page(JobFilter(labels=BERLIN)).jobs == ()
    assert [key for key in shops.raw.scan_iter() if key[4:6] in ("y:", "z:")] == []


def test_a_page_reads_a_limited_number_of_jobs(bench: Bench, make: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two hundred jobs of Berlin, of which the oldest is of another model, for which there is no index
    monkeypatch.setattr(job_lists, "SCAN", 60)
    monkeypatch.setattr(job_lists, "STEP", 20)
    jobs = [make(f"j{number}", labels=BERLIN) for number in range(200)]
    bench.store.jobs.enqueue([replace(jobs[0], model="other"), *jobs[1:]], "b")
    other = JobFilter(models=["other"])
    # Then a page without a match ends early, with a cursor
    first = bench.store.jobs.page(other)
    assert (first.jobs, first.cursor is None) == ((), False)
    for only in (other, replace(other, labels=BERLIN), replace(other, batch="b")):
        assert all_pages(partial(bench.store.jobs.page, only), 100) == ["j0"]


def test_the_cost_of_a_page_does_not_grow_with_the_number_of_jobs(bench: Bench, make: MakeJob) -> None:
    def cost() -> int:
        bench.raw.config_resetstat()
        assert len(bench.store.jobs.page(JobFilter(labels=BERLIN | {"of": "all"}), limit=10).jobs) == 10
        return sum(each["calls"] for each in bench.raw.info("commandstats").values())

    def more(kind: str, count: int, labels: dict[str, str]) -> None:
        bench.store.jobs.enqueue([make(f"{kind}{number}", labels=labels) for number in range(count)])

    more("few", 10, BERLIN | {"of": "all"})
    before = cost()
    more("many", 400, ROME | {"of": "all"})
    assert cost() == before


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.fixture
def seasons(bench: Bench, make: MakeJob) -> Any:
    """Six batches, a second apart: b0 and b3 paused, b1 and b4 done, b2 and b5 running; even ones are of spring."""
    for number in range(6):
        options = BatchOptions(labels={"season": "spring" if number % 2 == 0 else "autumn", "of": "all"})
        bench.store.jobs.enqueue([make(f"b{number}.{line}") for line in range(3)], f"b{number}", options)
        if number % 3 == 0:
            bench.store.batches.pause(f"b{number}")
        if number % 3 == 1:
            bench.store.batches.cancel(f"b{number}")
        bench.forward(1)
    return bench


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize(
    ("progress", "labels", "numbers"),
    [
        (None, {}, (5, 4, 3, 2, 1, 0)),
        (None, {"season": "spring"}, (4, 2, 0)),
        (None, {"season": "spring", "of": "all"}, (4, 2, 0)),
        (None, {"season": "winter"}, ()),
        (Progress.RUNNING, {}, (5, 2)),
        (Progress.PAUSED, {}, (3, 0)),
        (Progress.DONE, {}, (4, 1)),
        (Progress.DONE, {"season": "spring"}, (4,)),
    ],
)
def test_batches_are_listed_by_progress_and_label(
    progress: Progress | None, labels: dict[str, str], numbers: tuple[int, ...], limit: int, seasons: Any
) -> None:
    only = Filter(labels=labels)
    found = all_pages(lambda **where: seasons.store.batches.page(progress, only=only, **where), limit)
    assert found == [f"b{number}" for number in numbers]


def test_batches_are_listed_by_time(seasons: Any) -> None:
    second, fifth = (seasons.store.batches.get(f"b{number}").created_at for number in (1, 4))
    found = seasons.store.batches.page(only=Filter(since=second, before=fifth)).batches
    assert [batch.id for batch in found] == ["b3", "b2", "b1"]
    assert found[0].progress is Progress.PAUSED
    assert found[0] == seasons.store.batches.get("b3")


def test_batches_of_one_moment_have_a_stable_order(bench: Bench, make: MakeJob) -> None:
    for number in range(5):
        bench.store.jobs.enqueue([make(f"j{number}")], f"b{number}")
    assert all_pages(bench.store.batches.page, 1) == ["b4", "b3", "b2", "b1", "b0"]
    assert from_micros(bench.now) <= bench.store.batches.get("b0").created_at < bench.store.jobs.get("j0").created_at
    assert bench.audit() == []


def test_the_options_of_a_batch_are_those_of_its_first_upload(bench: Bench, make: MakeJob) -> None:
    first = BatchOptions(owner="shop", labels={"season": "spring"}, weight=3)
    bench.store.jobs.enqueue([], "b", first)
    bench.store.jobs.enqueue([make()], "b", BatchOptions(owner="press", labels={"season": "autumn"}))
    assert bench.store.batches.options("b") == first
    assert bench.store.batches.options("other") is None
    assert bench.store.batches.page(only=Filter(labels={"season": "autumn"})).batches == ()
    bench.store.jobs.enqueue([], "plain")
    assert bench.store.batches.options("plain") == BatchOptions()
