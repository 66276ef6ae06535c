"""The audit finds every broken invariant and nothing in a sound store. The repair corrects what the records show."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from random import Random
from threading import Event
from typing import Any

import pytest
from redis.client import Pipeline

from jobs.audit import findings as findings_module
from jobs.audit import recount
from jobs.audit.audit import Audit, audit, examine
from jobs.audit.repair import Repair, RepairBusy, repair
from jobs.bulk import BulkAction
from jobs.connections.client import connect
from jobs.errors import NotAllowed, StoreUnavailable
from jobs.job import Delivery
from jobs.job_filter import ALL_JOBS
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.review import Verdict
from jobs.settings import Settings
from jobs.states import State
from jobs.store.store import Store
from tests.support.bench import Bench, InThread, MakeJob, Priced
from tests.support.redis_copy import copy, put_back

P = "{b}:"
#: The test sets the clock, as the bench does.
CLOCK = "local function clock() return tonumber(redis.call('GET', KEYS[1]..'clock')) end\n"
#: The ledger of the day on which the clock of these tests begins.
DAY = "d:19675"


@pytest.fixture(scope="module")
def copies() -> dict[str, dict[bytes, bytes]]:
    """Copies of prepared data, by name, for all tests of this module."""
    return {}


@pytest.fixture
def filled(bench: Bench, make: MakeJob, priced: Priced, redis_url: str, copies: dict[str, dict[bytes, bytes]]) -> Bench:
    """A store with a job in every state, an admitted one, owed deliveries, batches, and purged jobs."""
    with connect(redis_url, text=False) as bare:
        if "filled" in copies:
            put_back(bare, copies["filled"])
        else:
            prepare(bench, make, priced)
            copies["filled"] = copy(bare)
    # Hints expire, so no copy has them: remove them after the preparation too.
    bench.hints_arrive()
    return bench


def prepare(bench: Bench, make: MakeJob, priced: Priced) -> None:
    store = bench.with_settings(retention=50)
    labels = {"shop": "berlin", "odd": "näme=x y"}
    options = BatchOptions(labels={"season": "spring"})
    store.jobs.enqueue([make("gone", labels=labels)], "x", options)
    store.jobs.cancel("gone")
    bench.forward(51)
    assert store.jobs.purge() == (1, 1)
    store.jobs.enqueue([make("gone"), make("stays")], "x")
    store.jobs.cancel("gone")
    bench.forward(51)
    assert store.jobs.purge() == (1, 0)
    for state in State:
        bench.put(state, state.value, n=2, owed="n")
    store.jobs.enqueue([make("marked", labels=labels)], "z", options)
    store.jobs.cancel("marked")
    store.jobs.enqueue([make("priced"), make("owes", owed="n"), make("waits")], "y")
    bench.claimed("priced")
    store.attempts.finish("priced", State.COMPLETED, priced("0.25"), "callback")
    store.reviews.review("priced", 0, Verdict.ACCEPTED, starred=True, by="shop-1")
    store.jobs.cancel("owes")
    store.jobs.enqueue([make("admitted", n=3)])
    store.attempts.admit(100)
    store.jobs.enqueue([make("later")])
    store.jobs.enqueue([make("latest")], "y")
    store.celery.park("latest", "a Celery id", "{}")
    asked = {"action": "pause", "filter": ALL_JOBS.to_script_json(BulkAction.PAUSE.states), "asked": {}, "key": ""}
    assert store.context.scripts.call("begin_bulk", "0" * 16, "*", json.dumps(asked), 1, 1) == "begun"
    for due in store.deliveries.claim(["completed"]):
        store.deliveries.record(due, Delivery.NOTIFY)
    for due in store.deliveries.claim(["failed"]):
        store.deliveries.give_up(due, Delivery.NOTIFY, "it answered 404")


def test_a_sound_store_has_no_finding(filled: Bench) -> None:
    assert audit(filled.store) == []


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
    "a job without its record": (("DEL", P + "j:waits"), "batch", "y"),
    "a member missing": (("LPOP", P + "m:y"), "members", "y"),
    # 5: slots and window
    "slots leak": (("HINCRBY", P + "lane:default", "slots", 2), "slots", "lane default"),
    "slots too few": (("HINCRBY", P + "lane:default", "slots", -1), "slots", "lane default"),
    "window leaks": (("HINCRBY", P + "lane:default", "window", 1), "window", "lane default"),
    "admitted, yet not queued": (("HSET", P + "j:in_doubt", "w", "default"), "window", "in_doubt"),
    # 6: money
    "spent too little": (("HINCRBY", P + "totals", "spent", -1), "spent", "all"),
    "a batch spent too little": (("HSET", P + "b:y", "spent", 1), "spent", "y"),
    "reserved too much": (("HINCRBY", P + "reserved", "ldefault", 1), "reserved", "ldefault"),
    "reserved for a batch": (("HINCRBY", P + "reserved", "by", 1), "reserved", "by"),
    "reserved for a key": (("HINCRBY", P + "reserved", "kshop", 5), "reserved", "kshop"),
    "a job of unknown price not reserved": (
        ("HDEL", P + "reserved", "?kirin_image_omni|2|"),
        "reserved",
        "?kirin_image_omni|2|",
    ),
    "reserved for a waiting job": (("HSET", P + "j:later", "R", "5"), "reserved", "later"),
    "too many unfinished": (("HINCRBY", P + "b:y", "c:kirin_image_omni|1|", 1), "expected", "y"),
    "too few unfinished": (("HDEL", P + "b:y", "c:kirin_image_omni|1|"), "expected", "y"),
    "a day spent too much": (("HINCRBY", P + "totals", "past", 1), "ledger", "all"),
    "a day's lane": (("HINCRBY", P + DAY, "ldefault", 1), "ledger", "day 19675"),
    "a day's key": (("HINCRBY", P + DAY, "kshop", -1), "ledger", "day 19675"),
    "a day that is not listed": (("DEL", P + "days"), "ledger", "day 19675"),
    # indexes and queue
    "in doubt, and in no index": (("ZREM", P + "doubts", "in_doubt"), "doubt", "in_doubt"),
    "not in doubt, and in the index": (("ZADD", P + "doubts", 1, "later"), "doubt", "later"),
    "readable, and in the index": (("ZADD", P + "unreadable", 1, "later"), "unreadable", "later"),
    "unreadable, no job": (("ZADD", P + "unreadable", 1, "ghost"), "unreadable", "ghost"),
    "in doubt, no job": (("ZADD", P + "doubts", 1, "ghost"), "doubt", "ghost"),
    "given up, and in no index": (("ZREM", P + "undelivered", "failed"), "undelivered", "failed"),
    "not given up, and in the index": (("ZADD", P + "undelivered", 1, "later"), "undelivered", "later"),
    "no index": (("ZREM", P + "s:failed", "failed"), "index", "failed"),
    "an index at another time": (("ZADD", P + "s:failed", 1, "failed"), "index", "failed"),
    "a second index": (("ZADD", P + "s:queued", 1, "failed"), "index", "failed"),
    "an index of nothing": (("ZADD", P + "s:queued", 1, "ghost"), "index", "ghost"),
    "in the queue, not queued": (("ZADD", P + "q:|1|k", 1, "in_progress"), "queue", "in_progress"),
    "in the queue and admitted": (("ZADD", P + "q:|1|k", 1, "admitted"), "queue", "admitted"),
    "in the queue, no job": (("ZADD", P + "q:|1|k", 1, "ghost"), "queue", "ghost"),
    "another batch's queue": (("ZADD", P + "q:|1|by", 1, "later"), "queue", "later"),
    "a queue that takes no part": (("ZREM", P + "f:|1|", "|1|by"), "queue", "y"),
    "an empty queue that takes part": (("ZADD", P + "f:|1|", 1, "|1|bz"), "queue", "z"),
    "an empty queue that takes part for the version before": (("ZADD", P + "f:|1", 1, "|1|bz"), "queue", "z"),
    "a queue among another key's": (("ZADD", P + "f:|1|shop", 1, "|1|by"), "queue", "y"),
    "a key that takes no part": (("ZREM", P + "f:", ""), "key", "pool "),
    "a key without queues takes part": (("ZADD", P + "f:", 1, "shop"), "key", "pool "),
    "weights leak": (("HINCRBY", P + "p:", "1|", 1), "weights", "pool "),
    "a paused queue that takes part": (("HSET", P + "b:y", "paused", 1), "queue", "y"),
    "ready leaks": (("HINCRBY", P + "p:", "ready", 1), "ready", "pool "),
    "a sweep that is not in the index": (
        ("HSET", P + "b:y", *("do", "retry", "only", '{"states":{}}', "pos", 0, "upto", 3, "many", 0)),
        "sweep",
        "y",
    ),
    "a sweep without its details": (("HSET", P + "b:y", "do", "retry"), "sweep", "y"),
    "an index entry without a sweep": (("ZADD", P + "sweeps", 1, "y"), "sweep", "y"),
    "a bulk action that is not listed": (("ZREM", P + "bulks", "0" * 16), "bulk", "0" * 16),
    "an entry without a bulk action": (("ZADD", P + "bulks", 1, "1" * 16), "bulk", "1" * 16),
    "a bulk action without its filter": (("HDEL", P + "bk:" + "0" * 16, "filter"), "bulk", "0" * 16),
    "a failure counted under no code": (("HINCRBY", P + "b:y", "x:1301", 1), "codes", "y"),
    # labels
    "a label without its entry": (("ZREM", P + "y:shop=berlin", "marked"), "label", "marked"),
    "a label at another time": (("ZADD", P + "y:shop=berlin", 1, "marked"), "label", "marked"),
    "an entry without its label": (("ZADD", P + "y:shop=rome", 1, "marked"), "label", "marked"),
    "an entry of nothing": (("ZADD", P + "y:shop=berlin", 1, "gone"), "label", "gone"),
    "a batch's label without its entry": (("ZREM", P + "z:season=spring", "z"), "label", "z"),
    "an entry without a batch": (("ZADD", P + "z:season=spring", 1, "ghost"), "label", "ghost"),
    # reviews
    "a review without its entry": (("ZREM", P + "mk:a|y", "0:priced"), "review", "priced"),
    "an entry of another mark": (("ZADD", P + "mk:r|y", 1, "0:priced"), "review", "priced"),
    "a mark at another time": (("ZADD", P + "mk:s|y", 1, "0:priced"), "review", "priced"),
    "a mark of no output": (("ZADD", P + "mk:s|y", 1, "0:waits"), "review", "waits"),
    "a mark of no job": (("ZADD", P + "mk:s|ghost", 1, "0:ghost"), "review", "ghost"),
    "reviews of no job": (("HSET", P + "rw:ghost", 0, '["a","1","k",""]'), "review", "ghost"),
    "a malformed review": (("HSET", P + "rw:completed", 0, "{"), "review", "completed"),
    "a message, no job": (("HSET", P + "k:ghost", "ghost", "{}"), "parked", "ghost"),
    "a message without an owed delivery": (("HSET", P + "k:later", "later", "{}"), "parked", "later"),
    "no request": (("DEL", P + "t:later"), "request", "later"),
}


#: The records do not show what was right here. Everything else is repaired.
NOT_REPAIRABLE = {
    "a batch without its record",
    "a job without its record",
    "a member missing",
    "a day spent too much",
    "no request",
    "a sweep without its details",
    "a bulk action without its filter",
}


@pytest.mark.parametrize(("command", "rule", "where"), BROKEN.values(), ids=BROKEN)
def test_a_broken_invariant_is_found(filled: Bench, command: tuple[Any, ...], rule: str, where: str) -> None:
    filled.raw.execute_command(*command)
    before = filled.dump()
    findings = audit(filled.store)
    assert (rule, where) in {(finding.rule, finding.id) for finding in findings}
    assert all(finding.detail and finding.remedy for finding in findings)
    assert filled.dump() == before


@pytest.mark.slow
@pytest.mark.parametrize("what", [what for what in BROKEN if what not in NOT_REPAIRABLE])
def test_a_broken_invariant_is_repaired(filled: Bench, what: str) -> None:
    command, rule, where = BROKEN[what]
    sound = filled.dump()
    filled.raw.execute_command(*command)
    done = repair(filled.store)
    assert (rule, where) in {(finding.rule, finding.id) for finding in done.repaired}
    assert done.left == Audit((), ())
    repaired = filled.dump()
    if what not in REPAIRED_DIFFERENTLY:
        assert repaired == sound
    # A second repair finds nothing
    assert repair(filled.store) == Repair((), Audit((), ()))
    assert filled.dump() == repaired


#: The repair differs from the original: a repaired alarm is due at once, a counter is set to what the records show.
REPAIRED_DIFFERENTLY = {
    "a counter in the wrong state",
    "unfinished, no alarm",
    "at the provider though cancelled, no alarm",
    "delivery owed, no alarm",
    "a queue that takes no part",
    "a paused queue that takes part",
    "a message, no job",
    "a message without an owed delivery",
    "a sweep that is not in the index",
    "a bulk action that is not listed",
}


@pytest.mark.parametrize("what", sorted(NOT_REPAIRABLE))
def test_what_cannot_be_repaired_is_reported_and_left(filled: Bench, what: str) -> None:
    command, rule, where = BROKEN[what]
    filled.raw.execute_command(*command)
    done = repair(filled.store)
    assert (rule, where) in {(finding.rule, finding.id) for finding in done.left.findings}
    assert not any(finding.repairable for finding in done.left.findings)
    assert all(finding.remedy for finding in done.left.findings)


def test_a_job_without_an_alarm_continues_after_the_repair(bench: Bench) -> None:
    claim = bench.claimed("sending")
    bench.put(State.IN_PROGRESS, "made")
    bench.put(State.EXPIRED, "late", owed="n")
    bench.raw.delete(P + "alarms")
    repair(bench.store)
    # A worker that is submitting keeps its job for the time of a lease
    assert bench.alarm("sending") == bench.store.context.settings.submit_lease
    assert bench.store.attempts.mark_in_progress("sending", claim.fence, "t")
    assert {due.job.id for due in bench.store.attempts.claim_due(10).dues} == {"made", "late"}
    assert bench.audit() == []


def test_a_lost_image_can_be_uploaded_again_after_the_repair(bench: Bench) -> None:
    fox = bench.placeholder_image(b"a fox")
    bench.images().put(fox)
    bench.raw.hdel(P + "kept", fox.hash)
    assert not repair(bench.store).left.findings
    assert bench.images().put(fox)
    assert bench.audit() == []


def test_an_image_that_jobs_name_stays_while_its_count_is_repaired(bench: Bench, make: MakeJob) -> None:
    fox = bench.placeholder_image(b"a fox")
    bench.images().put(fox)
    bench.store.jobs.enqueue([make("fox", f'{{"params":{{"image":"image:sha256:{fox.hash}"}}}}')])
    sound = bench.dump()
    bench.raw.hdel(P + "uses", fox.hash)
    bench.raw.zadd(P + "images", {fox.hash: 1})
    assert not repair(bench.store).left.findings
    assert bench.dump() == sound


def test_only_one_repair_runs_at_a_time(filled: Bench) -> None:
    filled.raw.hincrby(P + "lane:default", "slots", 2)
    filled.raw.set(P + "repair", "another 1")
    before = filled.dump()
    with pytest.raises(RepairBusy):
        repair(filled.store)
    assert filled.dump() == before
    filled.raw.delete(P + "repair")
    assert repair(filled.store).left.findings == ()
    assert not filled.raw.exists(P + "repair")


def test_a_repeated_correction_changes_nothing(filled: Bench) -> None:
    call = ("repair_counters", "", "me 1", 1000, P + "lane:default", "slots", -1, "0")
    assert filled.store.context.scripts.call(*call) == "done"
    before = filled.dump()
    assert filled.store.context.scripts.call(*call) == "refused"
    assert filled.dump() == before


def test_a_repair_whose_lease_ended_corrects_nothing_more(filled: Bench) -> None:
    call = filled.store.context.scripts.call
    assert call("repair_counters", "", "me 1", 1000) == "done"
    filled.raw.set(P + "repair", "another 1")  # the lease of the first repair has ended
    before = filled.dump()
    assert call("repair_counters", "me 1", "me 2", 1000, P + "lane:default", "slots", -1, "0") == "refused"
    assert filled.dump() == before


def test_records_of_a_later_version_are_not_repaired(filled: Bench) -> None:
    filled.raw.hset(P + "j:in_progress", "Z", "1000")
    filled.raw.zrem(P + "alarms", "in_progress", "later")
    done = repair(filled.store)
    assert [(finding.rule, finding.id) for finding in done.repaired] == [("alarm", "later")]
    assert filled.alarm("in_progress") is None
    assert "later version" in done.left.unsure[0]


@pytest.mark.slow
def test_many_jobs_are_read_by_cursor(bench: Bench, make: MakeJob) -> None:
    for start in range(0, 3000, 500):
        bench.store.jobs.enqueue([make(f"j{start + number}") for number in range(500)], "x")
    assert audit(bench.store) == []
    bench.raw.zrem(P + "alarms", "j1234")
    assert [(finding.rule, finding.id) for finding in audit(bench.store)] == [("alarm", "j1234")]


def changing_store(bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> Store:
    """Return a store that calls `change` after each of its round trips."""
    client = connect("redis://127.0.0.1:1/0")
    client.connection_pool = bench.raw.connection_pool
    store = Store(client, bench.store.context.settings, clock=CLOCK)
    execute, send = client.execute_command, Pipeline.execute
    in_change: list[bool] = []

    def after(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            answer = call(*args, **options)
            if not in_change:
                in_change.append(True)
                change()
                in_change.clear()
            return answer

        return called

    monkeypatch.setattr(client, "execute_command", after(execute))
    monkeypatch.setattr(Pipeline, "execute", after(send))
    return store


class Traffic:
    """Calls each make one random change, with a fixed seed, of the kinds that a busy service makes."""

    KINDS = ("enqueue", "admit", "admit", "started", "finish", "finish", "cancel", "requeue", "fail", "pause", "late")

    def __init__(self, bench: Bench, job: Callable[[str], NewJob], result: Result) -> None:
        self.bench, self.job, self.result = bench, job, result
        self.draw = Random(7)
        self.held: dict[str, Any] = {}
        self.made = Counter[str]()
        # The next change of these jobs does not appear in the stream of changes.
        self.cancelled = [claim.id for claim in bench.store.attempts.claim(bench.store.attempts.admit(12).ids)]
        for job_id in self.cancelled:
            bench.store.jobs.cancel(job_id)
        self.admitted = list(bench.store.attempts.admit(12).ids)

    def __call__(self) -> None:
        kind = self.draw.choice(self.KINDS)
        self.made[kind] += 1
        if kind == "pause" and self.admitted:
            self.bench.store.jobs.pause(self.admitted.pop())
        if kind == "late" and self.cancelled:
            self.bench.store.attempts.finish(self.cancelled.pop(), State.COMPLETED, self.result, "poll")
        if kind == "enqueue":
            self.bench.store.jobs.enqueue([self.job(f"new{self.made[kind]}")], f"batch{self.made[kind] % 3}")
        elif kind == "admit":
            admitted = self.bench.store.attempts.admit(2).ids
            self.held.update({claim.id: claim for claim in self.bench.store.attempts.claim(admitted)})
            self.bench.store.attempts.admit(1)  # and it is never claimed
        elif self.held and kind not in ("pause", "late"):
            job_id, claim = self.draw.choice(sorted(self.held.items()))
            with suppress(NotAllowed):
                getattr(self, kind)(job_id, claim.fence)

    def started(self, job_id: str, fence: int) -> None:
        self.bench.store.attempts.mark_in_progress(job_id, fence, "t")

    def finish(self, job_id: str, _fence: int) -> None:
        self.bench.store.attempts.finish(job_id, State.COMPLETED, self.result, "poll")

    def fail(self, job_id: str, _fence: int) -> None:
        self.bench.store.attempts.finish(job_id, State.FAILED, Result(error={"code": "1301"}), "callback")

    def cancel(self, job_id: str, _fence: int) -> None:
        self.bench.store.jobs.cancel(job_id)

    def requeue(self, job_id: str, fence: int) -> None:
        self.bench.store.attempts.mark_in_doubt(job_id, fence, "")
        self.bench.store.attempts.requeue(job_id, fence, "")


@pytest.mark.parametrize("drift", [0, 3], ids=["sound", "with a leak"])
@pytest.mark.slow
def test_counters_are_compared_exactly_while_everything_changes(
    bench: Bench,
    make: MakeJob,
    priced: Priced,
    monkeypatch: pytest.MonkeyPatch,
    drift: int,
) -> None:
    fox = bench.placeholder_image(b"a fox")
    bench.images().put(fox)
    text = f'{{"params":{{"image":"image:sha256:{fox.hash}"}}}}'
    for batch in range(3):
        bench.store.jobs.enqueue([make(f"old{batch}-{n}", text, n=n % 3 + 1) for n in range(20)], f"batch{batch}")
    bench.raw.hincrby(P + "lane:default", "slots", drift)
    bench.raw.hincrby(P + "b:batch1", "queued", drift)
    bench.raw.hincrby(P + "uses", fox.hash, drift)
    expected = {("slots", "lane default"), ("batch", "batch1"), ("uses", fox.hash)} if drift else set()
    traffic = Traffic(bench, lambda job_id: make(job_id, text), priced("0.25"))
    store = changing_store(bench, monkeypatch, traffic)

    found = examine(store)

    assert set(traffic.made) == set(Traffic.KINDS)
    assert sum(traffic.made.values()) > 30
    assert found.unsure == ()
    assert {(finding.rule, finding.id) for finding in found.findings} == expected
    assert {(finding.rule, finding.id) for finding in repair(store).repaired} == expected
    monkeypatch.undo()
    assert bench.audit() == []


@pytest.mark.parametrize("again", [False, True], ids=["", "enqueued again"])
@pytest.mark.parametrize("drift", [0, 3, -3])
def test_the_size_of_a_keys_jobs_is_compared_exactly_while_old_jobs_are_deleted(
    bench: Bench, make: MakeJob, monkeypatch: pytest.MonkeyPatch, drift: int, again: bool
) -> None:
    """A service older than its retention deletes jobs in nearly every round."""
    ids = [f"old{number}" for number in range(60)]
    for job_id in ids:
        bench.store.jobs.enqueue([make(job_id, owner="shop")])
        bench.store.jobs.cancel(job_id)
        bench.forward(1)
    bench.store.jobs.enqueue([make(f"new{number}", owner="shop") for number in range(5)])
    bench.forward(bench.store.context.settings.retention - 60)
    bench.raw.hincrby(P + "stored", "shop", drift)
    steps = count()

    def change() -> None:
        if next(steps) % 7 == 0:
            bench.forward(1)
            bench.store.jobs.purge()
            if again and ids:
                bench.store.jobs.enqueue([make(ids.pop(0), owner="shop")])

    store = changing_store(bench, monkeypatch, change)
    found = examine(store)
    assert found.unsure == ()
    assert [(finding.rule, finding.id) for finding in found.findings] == ([("stored", "key shop")] if drift else [])
    assert int(bench.raw.hget(P + "totals", "purged")) > 5
    repair(store)
    monkeypatch.undo()
    assert bench.audit() == []


@pytest.mark.slow
def test_under_load_a_leak_is_repaired_and_nothing_else_is_found(
    bench: Bench, store: Store, make: MakeJob, priced: Priced, in_thread: InThread
) -> None:
    """Three threads change jobs as fast as they can, on the real clock, while the audit runs."""
    bench.start_afresh()
    over, numbers = Event(), count()

    def work() -> None:
        while not over.is_set():
            batch = f"batch{next(numbers) % 4}"
            store.jobs.enqueue([make(f"job{next(numbers)}", n=n + 1) for n in range(5)], batch)
            for claim in store.attempts.claim(store.attempts.admit(6).ids):
                if next(numbers) % 3:
                    store.attempts.mark_in_progress(claim.id, claim.fence, "t")
                    store.attempts.finish(claim.id, State.COMPLETED, priced("0.25"), "poll")
                elif next(numbers) % 2:
                    store.jobs.cancel(claim.id)
                    store.attempts.finish(claim.id, State.FAILED, Result(error={"code": "1301"}), "callback")
                else:
                    store.attempts.mark_in_doubt(claim.id, claim.fence, "")

    threads = [in_thread(work) for _ in range(3)]
    try:
        for _ in range(3):
            assert examine(store) == Audit((), ())
        bench.raw.hincrby(P + "lane:default", "slots", 5)
        bench.raw.hincrby(P + "b:batch1", "in_doubt", -1)
        done = repair(store)
        assert {(finding.rule, finding.id) for finding in done.repaired} == {
            ("slots", "lane default"),
            ("batch", "batch1"),
        }
        assert done.left == Audit((), ())
    finally:
        over.set()
        for thread in threads:
            thread(timeout=30)
    assert audit(store) == []


def test_a_counter_that_changes_too_often_is_reported_as_unsure(
    bench: Bench, make: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.jobs.enqueue([make("fox")], "x")
    bench.raw.hincrby(P + "b:x", "queued", 1)
    monkeypatch.setattr(recount, "MOST_AT_ONCE", 0)
    bench.claimed("fox")
    bench.store.jobs.cancel("fox")
    assert P + "b:x" in examine(bench.store).unsure


def test_the_audit_pauses_after_each_step(bench: Bench, make: MakeJob, monkeypatch: Any) -> None:
    bench.store.jobs.enqueue([make(f"j{number}") for number in range(1200)])
    paused: list[float] = []
    monkeypatch.setattr(findings_module.time, "sleep", paused.append)
    assert audit(bench.store, pause=0.25) == []
    assert len(paused) >= 3
    assert set(paused) == {0.25}


def test_an_unreachable_redis_is_unavailable() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        audit(Store(client, Settings()))
    client.close()
