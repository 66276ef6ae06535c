"""Damaged logs, indexes, sums by label and events stop no job, and money counts once."""

from decimal import Decimal
from typing import Any

import pytest

from jobs.delivery_log import Attempt
from jobs.errors import StoreUnavailable
from jobs.job import LANE
from jobs.new_job import BatchOptions
from jobs.receivers import LEASE
from jobs.result import Result
from jobs.states import State
from tests.jobs.store.test_batch_events import HOOK, HOST, Shop
from tests.support.bench import IMAGES, Bench, new

PAID = Result(output=IMAGES.output, cost=Decimal("0.01"))
OPTIONS = BatchOptions(owner="shop", callback_url=HOOK, notify_unbegun=True, labels={"team": "a"})
EVENT = "!b!finished.1"
#: Each key of the bookkeeping that the end of a job writes.
KEYS = {
    "labels": "fox",
    "notifications": "p|shop",
    "event": EVENT,
    "event_alarms": None,
    "batch_events": "b",
    "changes": None,
    "batch_ends": None,
}
BY_LABEL = "spent_labels"


def break_key(bench: Bench, name: str, member: str | None) -> str:
    key: str = bench.keys.member(name, member) if member is not None else bench.keys.singleton(name)
    wrong: Any = bench.raw.lpush if bench.raw.type(key) == "string" else bench.raw.set
    bench.raw.delete(key)
    wrong(key, "x")
    return key


def finish_paid(bench: Bench, fence: int) -> None:
    for _ in range(3):
        try:
            bench.store.attempts.finish("fox", State.COMPLETED, PAID, "poll", fence=fence)
        except StoreUnavailable:
            continue


@pytest.mark.parametrize("name", [*KEYS, BY_LABEL])
def test_money_counts_once_and_the_job_ends(bench: Bench, name: str) -> None:
    bench.store.jobs.enqueue([new("fox", owed="n", labels={"shelf": "7"})], "b", OPTIONS)
    claim = bench.claimed("fox")
    break_key(bench, name, str(bench.now // 86_400_000_000) if name == BY_LABEL else KEYS[name])

    finish_paid(bench, claim.fence)

    assert bench.fields("fox")["s"] == State.COMPLETED
    batch, totals = bench.raw.hgetall(bench.keys.member("batch", "b")), bench.keys.singleton("totals")
    assert batch["spent"] == bench.raw.hget(totals, "spent") == bench.lane()["spent"] == "10000000"
    assert batch["completed"] == "1"


@pytest.mark.parametrize("field", ["took", "work"])
def test_a_damaged_average_does_not_count_money_again(bench: Bench, field: str) -> None:
    bench.put(State.IN_PROGRESS)
    bench.raw.hset(bench.keys.member("lane", LANE), field, "x")
    finish_paid(bench, bench.store.jobs.get("fox").fence)
    assert bench.lane()["spent"] == "10000000"
    assert bench.store.jobs.get("fox").state is State.COMPLETED


def test_a_notification_with_a_damaged_log_is_sent_once(bench: Bench) -> None:
    bench.put(State.COMPLETED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    turn = bench.store.deliveries.begin_notification(due, HOST, 10)
    bench.raw.set(bench.keys.member("attempts", "fox"), "x")
    tried = Attempt(id="fox.1", at=due.now, address=HOOK, status=200, took=0.1, error="")
    bench.store.deliveries.end_notification(due, turn, limit=10, random=0.5, attempt=tried)
    bench.forward(LEASE + 3600)
    assert bench.store.deliveries.claim(["fox"]) == []


def test_an_answer_that_cannot_be_recorded_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.put(State.COMPLETED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    turn = bench.store.deliveries.begin_notification(due, HOST, 10)
    bench.raw.hset(bench.keys.member("job", "fox"), "s", "frozen")
    bench.store.deliveries.end_notification(due, turn, limit=10, random=0.5)
    assert "job fox" in caplog.text


@pytest.mark.parametrize(("field", "value"), [("tries", "x"), ("fence", "x"), ("at", "nan"), (None, "x")])
def test_a_damaged_event_does_not_stop_the_others(bench: Bench, field: str | None, value: str) -> None:
    shop = Shop(bench)
    for job_id, batch in (("a", "b"), ("c", "b2")):
        bench.store.jobs.enqueue([new(job_id)], batch, shop.options)
        shop.end(job_id)
    key = bench.keys.member("event", EVENT)
    if field:
        bench.raw.hset(key, field, value)
    else:
        bench.raw.set(key, value)
    assert [event.batch for event in shop.claim()] == ["b2"]


def test_an_event_with_a_damaged_log_is_sent_once(bench: Bench) -> None:
    shop = Shop(bench)
    shop.add("a")
    shop.end("a")
    (event,) = shop.claim()
    bench.raw.set(bench.keys.member("attempts", EVENT), "x")
    assert shop.send(event) == "granted"
    bench.forward(LEASE + 3600)
    assert shop.claim() == []
