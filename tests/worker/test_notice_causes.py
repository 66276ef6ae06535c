"""Which batches that wait for a person are reported, and when."""

from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.new_job import BatchOptions, NewJob
from jobs.notices import FORGOTTEN_AFTER, WAITS_FOR, Notice, NoticeClass
from jobs.states import State
from tests.support.world import MakeWorld, request_of
from worker.notices.causes import complete, find_notices

pytestmark = pytest.mark.stack
WAITS, FORGOTTEN = NoticeClass.BATCH_WAITS, NoticeClass.BATCH_FORGOTTEN


@pytest.fixture
def w(world: MakeWorld) -> Any:
    return world()


def enqueue(w: Any, batch: str, count: int = 2, **options: Any) -> None:
    jobs = [NewJob(id=f"{batch}-{n}", text=request_of().text(), model="kirin_image_omni") for n in range(count)]
    w.store.jobs.enqueue(jobs, batch, BatchOptions(**options))


def reported(w: Any, *classes: NoticeClass) -> dict[tuple[NoticeClass, str], Notice]:
    """Return the notices with their texts, by class and batch."""
    found = find_notices(w.store, classes or tuple(NoticeClass))
    texts = (complete(w.store, each) for each in found)
    return {(each.about, each.subject): each for each in texts if each}


def test_a_batch_that_came_paused_is_reported_after_a_minute_until_it_is_approved(w: Any) -> None:
    enqueue(w, "spring", paused=True)
    assert reported(w) == {}
    w.ahead(WAITS_FOR)
    (notice,) = reported(w).values()
    assert (notice.about, notice.subject) == (WAITS, "spring")
    assert "boomerang approve spring" in notice.do
    assert "2 jobs" in notice.what
    w.store.batches.approve("spring")
    assert reported(w) == {}


def test_the_end_of_a_pilot_is_reported_and_its_run_is_not(w: Any) -> None:
    enqueue(w, "spring", 3, pilot=1)
    w.store.batches.begin_pilot("spring", ["spring-0"])
    w.ahead(10 * WAITS_FOR)
    assert reported(w) == {}
    w.store.jobs.cancel("spring-0")
    w.ahead(WAITS_FOR)
    (notice,) = reported(w).values()
    assert (notice.about, notice.subject) == (WAITS, "spring")
    assert "pilot" in notice.what
    # A pilot that runs again needs nobody
    w.store.jobs.retry("spring-0")
    assert reported(w) == {}


def test_a_pause_on_request_is_reported_only_when_it_seems_forgotten(w: Any) -> None:
    enqueue(w, "spring")
    for _ in range(3):
        w.store.batches.pause("spring")
        w.ahead(FORGOTTEN_AFTER - 60)
        assert reported(w) == {}
        w.store.batches.resume("spring")
    w.store.batches.pause("spring")
    w.ahead(FORGOTTEN_AFTER)
    (notice,) = reported(w).values()
    assert (notice.about, notice.subject) == (FORGOTTEN, "spring")
    assert "boomerang resume spring" in notice.do
    w.store.batches.resume("spring")
    assert reported(w) == {}


@pytest.mark.parametrize("options", [{"paused": True}, {}])
def test_a_batch_without_waiting_jobs_is_not_reported(w: Any, options: dict[str, Any]) -> None:
    enqueue(w, "spring", **options)
    w.store.batches.pause("spring")
    for each in ("spring-0", "spring-1"):
        w.store.jobs.cancel(each)
    w.ahead(FORGOTTEN_AFTER)
    assert reported(w, WAITS, FORGOTTEN) == {}


def test_a_cancelled_batch_is_not_reported(w: Any) -> None:
    enqueue(w, "spring", paused=True)
    w.store.batches.cancel("spring")
    w.ahead(FORGOTTEN_AFTER)
    assert reported(w, WAITS, FORGOTTEN) == {}
    assert w.store.jobs.get("spring-0").state is State.CANCELLED


def test_a_pause_while_it_waits_changes_the_cause(w: Any) -> None:
    enqueue(w, "spring", paused=True)
    w.store.batches.pause("spring")
    w.ahead(FORGOTTEN_AFTER)
    assert list(reported(w)) == [(FORGOTTEN, "spring")]
    w.store.batches.resume("spring")
    assert reported(w) == {}
    w.ahead(WAITS_FOR)
    assert list(reported(w)) == [(WAITS, "spring")]


def test_only_the_classes_that_have_targets_are_looked_for(w: Any) -> None:
    enqueue(w, "spring", paused=True)
    w.ahead(WAITS_FOR)
    assert reported(w, *(set(NoticeClass) - {WAITS})) == {}


def test_a_batch_at_its_cap_is_reported_once(w: Any) -> None:
    enqueue(w, "spring")
    w.store.batches.pause("spring")
    key = w.store.context.keys
    w.store.context.client.zrem(key.singleton("on_request"), "spring")
    w.store.context.client.zadd(key.singleton("at_cap"), {"spring": datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6})
    w.ahead(FORGOTTEN_AFTER)
    assert [about for about, _ in reported(w)] == [NoticeClass.BATCH_PAUSED]
