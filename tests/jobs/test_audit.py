"""Each invariant, broken by hand, is found; a healthy store has no finding."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.audit import audit
from jobs.errors import StoreUnavailable
from jobs.order import BatchOptions, NewJob
from jobs.record import Owed, Result
from jobs.settings import Settings
from jobs.states import State
from jobs.store import Store, connect

P = "{b}:"
#: The ledger of the day on which the clock of these tests begins.
DAY = "d:19675"


@pytest.fixture
def busy(bench: Any, make: Callable[..., NewJob], priced: Callable[[str], Result]) -> Any:
    """A job in every state, one admitted, deliveries owed, two batches, one job forgotten."""
    store = bench.with_settings(retention=50)
    labels = {"shop": "berlin", "odd": "näme=x y"}
    options = BatchOptions(labels={"season": "spring"})
    store.enqueue([make("gone", labels=labels)], "x", options)
    store.cancel("gone")
    bench.forward(51)
    assert store.purge() == (1, 1)
    store.enqueue([make("gone"), make("stays")], "x")
    store.cancel("gone")
    bench.forward(51)
    assert store.purge() == (1, 0)
    for state in State:
        bench.put(state, state.value, n=2, owed="n")
    store.enqueue([make("marked", labels=labels)], "z", options)
    store.cancel("marked")
    store.enqueue([make("priced"), make("owes", owed="n"), make("waits")], "y")
    bench.claimed("priced")
    store.finish("priced", State.COMPLETED, priced("0.25"), "callback")
    store.cancel("owes")
    store.enqueue([make("admitted", n=3)])
    store.admit(100)
    store.enqueue([make("later")])
    store.enqueue([make("latest")], "y")
    store.park("latest", "a Celery id", "{}")
    for due in store.owing(["completed"]):
        store.delivered(due, Owed.NOTIFY)
    return bench


def test_a_healthy_store_has_no_finding(busy: Any) -> None:
    assert audit(busy.store) == []


BROKEN = {
    # 1: alarms
    "unfinished, no alarm": (("ZREM", P + "alarms", "later"), "alarm", "later"),
    "at the provider though cancelled, no alarm": (("ZREM", P + "alarms", "cancelled"), "alarm", "cancelled"),
    "delivery owed, no alarm": (("ZREM", P + "alarms", "owes"), "alarm", "owes"),
    "nothing to do, an alarm": (("ZADD", P + "alarms", 1, "completed"), "alarm", "completed"),
    "an alarm, no job": (("ZADD", P + "alarms", 1, "ghost"), "alarm", "ghost"),
    # 4: batches
    "accepted too large": (("HINCRBY", P + "b:y", "accepted", 1), "batch", "y"),
    "a counter too large": (("HINCRBY", P + "b:y", "queued", 1), "batch", "y"),
    "a counter in the wrong state": (("HSET", P + "b:y", "queued", 0, "failed", 1), "batch", "y"),
    "a batch without its record": (("DEL", P + "b:y"), "batch", "y"),
    "a job forgotten by nobody": (("DEL", P + "j:waits"), "batch", "y"),
    "a member missing": (("LPOP", P + "m:y"), "members", "y"),
    # 5: slots and window
    "slots leak": (("HINCRBY", P + "lane:default", "slots", 2), "slots", "lane default"),
    "slots forgotten": (("HINCRBY", P + "lane:default", "slots", -1), "slots", "lane default"),
    "window leaks": (("HINCRBY", P + "lane:default", "window", 1), "window", "lane default"),
    "admitted, yet not queued": (("HSET", P + "j:in_doubt", "w", "default"), "window", "in_doubt"),
    # 6: money
    "spent too little": (("HINCRBY", P + "totals", "spent", -1), "spent", "all"),
    "a batch spent too little": (("HSET", P + "b:y", "spent", 1), "spent", "y"),
    "reserved too much": (("HINCRBY", P + "reserved", "ldefault", 1), "reserved", "ldefault"),
    "reserved for a batch": (("HINCRBY", P + "reserved", "by", 1), "reserved", "by"),
    "reserved for a key": (("HINCRBY", P + "reserved", "kshop", 5), "reserved", "kshop"),
    "a job of unknown price forgotten": (
        ("HDEL", P + "reserved", "?kirin_image_omni|2|"),
        "reserved",
        "?kirin_image_omni|2|",
    ),
    "reserved for one that waits": (("HSET", P + "j:later", "R", "5"), "reserved", "later"),
    "unfinished too many": (("HINCRBY", P + "b:y", "c:kirin_image_omni|1|", 1), "expected", "y"),
    "unfinished too few": (("HDEL", P + "b:y", "c:kirin_image_omni|1|"), "expected", "y"),
    "a day spent too much": (("HINCRBY", P + "totals", "past", 1), "ledger", "all"),
    "a day's lane": (("HINCRBY", P + DAY, "ldefault", 1), "ledger", "day 19675"),
    "a day's key": (("HINCRBY", P + DAY, "kshop", -1), "ledger", "day 19675"),
    "a day that is not listed": (("DEL", P + "days"), "ledger", "day 19675"),
    # indexes and queue
    "no index": (("ZREM", P + "s:failed", "failed"), "index", "failed"),
    "an index at another time": (("ZADD", P + "s:failed", 1, "failed"), "index", "failed"),
    "a second index": (("ZADD", P + "s:queued", 1, "failed"), "index", "failed"),
    "an index of nothing": (("ZADD", P + "s:queued", 1, "ghost"), "index", "ghost"),
    "in the queue, not queued": (("ZADD", P + "q:|1|k", 1, "in_progress"), "queue", "in_progress"),
    "in the queue and admitted": (("ZADD", P + "q:|1|k", 1, "admitted"), "queue", "admitted"),
    "in the queue, no job": (("ZADD", P + "q:|1|k", 1, "ghost"), "queue", "ghost"),
    "another batch's queue": (("ZADD", P + "q:|1|by", 1, "later"), "queue", "later"),
    "a queue that takes no part": (("ZREM", P + "f:|1", "|1|by"), "queue", "y"),
    "an empty queue that takes part": (("ZADD", P + "f:|1", 1, "|1|bz"), "queue", "z"),
    "weights leak": (("HINCRBY", P + "p:", "1|", 1), "weights", "pool "),
    "a paused queue that takes part": (("HSET", P + "b:y", "paused", 1), "queue", "y"),
    "ready leaks": (("HINCRBY", P + "p:", "ready", 1), "ready", "pool "),
    "a sweep begun that nobody makes": (("HSET", P + "b:y", "do", "retry"), "sweep", "y"),
    "a sweep of nothing": (("ZADD", P + "sweeps", 1, "y"), "sweep", "y"),
    "a failure counted under no code": (("HINCRBY", P + "b:y", "x:1301", 1), "codes", "y"),
    # labels
    "a label without its entry": (("ZREM", P + "y:shop=berlin", "marked"), "label", "marked"),
    "a label at another time": (("ZADD", P + "y:shop=berlin", 1, "marked"), "label", "marked"),
    "an entry without its label": (("ZADD", P + "y:shop=rome", 1, "marked"), "label", "marked"),
    "an entry of nothing": (("ZADD", P + "y:shop=berlin", 1, "gone"), "label", "gone"),
    "a batch's label without its entry": (("ZREM", P + "z:season=spring", "z"), "label", "z"),
    "an entry without a batch": (("ZADD", P + "z:season=spring", 1, "ghost"), "label", "ghost"),
    "a message for nobody": (("HSET", P + "k:ghost", "ghost", "{}"), "parked", "ghost"),
    "a message that nobody would tell": (("HSET", P + "k:later", "later", "{}"), "parked", "later"),
    "no request": (("DEL", P + "t:later"), "request", "later"),
}


@pytest.mark.parametrize(("command", "rule", "where"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found(busy: Any, command: tuple[Any, ...], rule: str, where: str) -> None:
    busy.raw.execute_command(*command)
    findings = audit(busy.store)
    assert (rule, where) in {(finding.rule, finding.id) for finding in findings}
    assert all(finding.detail and finding.remedy for finding in findings)


def test_many_jobs_are_read_by_cursor(bench: Any, make: Callable[..., NewJob]) -> None:
    for start in range(0, 3000, 500):
        bench.store.enqueue([make(f"j{start + number}") for number in range(500)], "x")
    assert audit(bench.store) == []
    bench.raw.zrem(P + "alarms", "j1234")
    assert [(finding.rule, finding.id) for finding in audit(bench.store)] == [("alarm", "j1234")]


def test_a_move_under_way_is_no_finding(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a job that is moved between the reading of its record and that of the lane, once
    bench.job()
    client = connect("redis://127.0.0.1:1/0")
    client.connection_pool = bench.raw.connection_pool
    store, moved = Store(client, Settings()), []
    read = client.hgetall

    def move_first(key: str) -> Any:
        if not moved:
            moved.append(bench.claimed())
        return read(key)

    monkeypatch.setattr(client, "hgetall", move_first)
    # Then the second look clears it
    assert audit(store) == []
    assert moved


def test_redis_away() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        audit(Store(client, Settings()))
    client.close()
