"""Lists of one producer among others: complete, and short of work however much the others enqueue."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.audit.audit import audit
from jobs.audit.repair import repair
from jobs.bulk import BulkAction
from jobs.job_filter import JobFilter
from jobs.new_job import BatchOptions
from jobs.states import State
from jobs.store.pages import Filter
from tests.support.bench import Bench, new

MANY = 1_000
P = "{b}:"


def add(bench: Bench, owner: str, *names: str, batch: str = "") -> list[str]:
    ids = [f"{name}@{owner}" for name in names]
    if batch:
        bench.store.jobs.enqueue([new(each) for each in ids], f"{batch}@{owner}", BatchOptions(owner=owner))
    else:
        bench.store.jobs.enqueue([new(each, owner=owner) for each in ids])
    return ids


def crowd(bench: Bench, name: str) -> None:
    add(bench, "crowd", *(f"{name}-{number}" for number in range(MANY)), batch=name)


def ids_of(bench: Bench, owner: str, **conditions: Any) -> list[str]:
    """Return the ids on all pages of an owner's jobs."""
    found, cursor = list[str](), None
    while True:
        page = bench.store.jobs.page(JobFilter(owner=owner, **conditions), cursor=cursor, limit=3)
        found += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.fixture
def commands(bench: Bench) -> Callable[[], int]:
    """Return `commands()`: how many commands Redis ran since the last call, also in scripts."""
    before = 0

    def since() -> int:
        nonlocal before
        calls = sum(each["calls"] for each in bench.raw.info("commandstats").values())
        found, before = calls - before, calls
        return found

    return since


def test_a_few_jobs_among_many_are_on_the_first_page(bench: Bench, commands: Callable[[], int]) -> None:
    expected = []
    for turn in range(5):
        crowd(bench, f"before-{turn}")
        expected += add(bench, "shop", f"a{turn}", f"b{turn}", batch="x" if turn % 2 else "")
    crowd(bench, "last")
    commands()

    page = bench.store.jobs.page(JobFilter(owner="shop"), limit=20)
    counted = bench.store.jobs.count(JobFilter(owner="shop", states=[State.QUEUED]), most=100)

    assert [job.id for job in page.jobs] == expected[::-1]
    assert page.cursor is None
    assert (counted.jobs, counted.exact) == (10, True)
    assert commands() < 250
    assert audit(bench.store) == []


def test_a_bulk_action_of_a_producer_passes_over_the_others(bench: Bench, commands: Callable[[], int]) -> None:
    add(bench, "shop", "first")
    for turn in range(3):
        crowd(bench, f"crowd-{turn}")
    add(bench, "shop", "second")
    crowd(bench, "last")
    bench.store.bulks.begin("0" * 16, BulkAction.CANCEL, JobFilter(owner="shop"), asked={})
    commands()

    while bench.store.bulks.get("0" * 16).affected < 2:
        bench.store.bulks.advance(0.001)

    assert commands() < 400
    assert ids_of(bench, "shop", states=[State.CANCELLED]) == ["second@shop", "first@shop"]


turns = st.lists(
    st.tuples(st.sampled_from(["shop", "press", "crowd"]), st.integers(1, 4), st.booleans(), st.integers(0, 3)),
    max_size=14,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(turns)
def test_no_list_lacks_a_job(bench: Bench, happened: list[tuple[str, int, bool, int]]) -> None:
    bench.raw.flushall()
    bench.wind_up()
    expected: dict[str, list[str]] = {"shop": [], "press": [], "crowd": []}
    for turn, (owner, many, in_batch, pause) in enumerate(happened):
        names = [f"{turn}-{number}" for number in range(many)]
        expected[owner] += add(bench, owner, *names, batch=f"b{turn % 3}" if in_batch else "")
        bench.forward(pause)
    for owner, ids in expected.items():
        assert ids_of(bench, owner) == ids[::-1]
    assert audit(bench.store) == []


def test_lists_of_jobs_from_before_the_index_are_complete(bench: Bench) -> None:
    old = add(bench, "shop", "a", "b", batch="x") + add(bench, "press", "a")
    bench.raw.delete(P + "os:shop", P + "os:press", P + "ob:shop", P + "ob:press")
    bench.raw.hdel(P + "totals", "indexed_from")
    assert ids_of(bench, "shop") == ["b@shop", "a@shop"]
    crowd(bench, "crowd")
    newer = add(bench, "shop", "c", batch="y")

    assert ids_of(bench, "shop") == [*newer, "b@shop", "a@shop"]
    assert ids_of(bench, "press") == [old[2]]
    batches = bench.store.batches.page(only=Filter(owner="shop")).batches
    assert [each.id for each in batches] == ["y@shop", "x@shop"]
    assert audit(bench.store) == []


def test_batches_of_a_producer_among_many(bench: Bench) -> None:
    for number in range(7):
        add(bench, "shop" if number % 3 == 0 else "crowd", "a", batch=f"b{number}")

    first = bench.store.batches.page(only=Filter(owner="shop"), limit=2)
    rest = bench.store.batches.page(only=Filter(owner="shop"), limit=2, cursor=first.cursor)

    assert [each.id for each in (*first.batches, *rest.batches)] == ["b6@shop", "b3@shop", "b0@shop"]


def test_what_is_deleted_leaves_the_indexes(bench: Bench) -> None:
    add(bench, "shop", "a", batch="x")
    add(bench, "press", "a")
    for each in ("a@shop", "a@press"):
        bench.store.jobs.cancel(each)
    bench.forward(10_000_000)
    add(bench, "shop", "b")
    while any(bench.store.jobs.purge()):
        pass

    assert not bench.raw.exists(P + "os:press", P + "ob:shop")
    assert ids_of(bench, "shop") == ["b@shop"]
    assert audit(bench.store) == []


BROKEN = {
    "no span": (("DEL", P + "os:shop"), ["a@shop"]),
    "a batch that its list lacks": (("ZREM", P + "ob:shop", "x@shop"), ["x@shop"]),
    "a batch in the list of another": (("ZADD", P + "ob:press", 5, "x@shop"), ["x@shop"]),
    "no batch": (("ZADD", P + "ob:press", 5, "ghost"), ["ghost"]),
}


@pytest.mark.parametrize(("command", "wrong"), BROKEN.values(), ids=BROKEN)
def test_a_wrong_entry_is_found_and_corrected(bench: Bench, command: tuple[Any, ...], wrong: list[str]) -> None:
    add(bench, "press", "a")
    add(bench, "shop", "a", batch="x")
    bench.raw.execute_command(*command)

    assert [(each.rule, each.id) for each in audit(bench.store)] == [("owner", each) for each in wrong]
    repair(bench.store)
    assert audit(bench.store) == []
    assert ids_of(bench, "shop") == ["a@shop"]
    assert [each.id for each in bench.store.batches.page(only=Filter(owner="shop")).batches] == ["x@shop"]


def test_jobs_under_way_are_counted_by_owner(bench: Bench) -> None:
    add(bench, "shop", "a", "b", "c")
    add(bench, "press", "a")
    taken = bench.store.attempts.admit(10).ids[:3]
    claims = bench.store.attempts.claim(taken)
    bench.store.attempts.mark_in_progress(claims[0].external_task_id, claims[0].fence, "t1")

    counts = {owner: bench.store.jobs.count_under_way(owner) for owner in ("shop", "press", "crowd")}

    for owner, found in counts.items():
        own = [job for job in bench.store.jobs.get_many(taken) if job and job.id.endswith(f"@{owner}")]
        for state, count in found.items():
            assert (count.jobs, count.exact) == (sum(job.state is state for job in own), True)
    assert sum(count.jobs for found in counts.values() for count in found.values()) == len(taken)
