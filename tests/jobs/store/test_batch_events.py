"""Events of batches: one for each time that all jobs have ended, and for each pause; kept until they are delivered."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.audit.repair import repair
from jobs.delivery_log import EVENTS_KEPT, Attempt, NotificationState, ReplayOutcome
from jobs.new_job import BatchOptions
from jobs.receivers import LEASE, BeginOutcome
from jobs.result import Result
from jobs.states import State
from jobs.store.batch_events import BatchEvent
from tests.support.bench import IMAGES, Bench, new

HOST = "hooks.shop.example"
HOOK = f"https://{HOST}/batches"


class Shop:
    """A batch of a producer with a callback_url."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        self.bench, self.events = bench, bench.store.batch_events
        given: Any = {"owner": "shop", "callback_url": HOOK, "notify_unbegun": True} | options
        self.options = BatchOptions(**given)

    def add(self, *ids: str, **more: Any) -> None:
        self.bench.store.jobs.enqueue([new(each, **more) for each in ids], "b", self.options)

    def end(self, job_id: str, state: State = State.COMPLETED) -> None:
        attempts = self.bench.store.attempts
        if state is State.CANCELLED:
            self.bench.store.jobs.cancel(job_id)
            return
        attempts.admit(1000)
        attempts.claim([job_id])
        result = IMAGES if state is State.COMPLETED else Result(error={"code": "x", "message": "no"})
        job = self.bench.store.jobs.get(job_id)
        images = Result(output=result.output * job.n, error=result.error)
        assert attempts.finish(job.external_task_id, state, images, "poll", fence=job.fence).outcome == "finished"

    def ids(self) -> list[str]:
        return [each.id.rpartition("!")[2] for each in self.bench.store.delivery_log.of_batch("b")]

    def claim(self) -> list[BatchEvent]:
        return self.events.claim(self.events.find_due(100))

    def send(self, event: BatchEvent, why: str = "", wait: float | None = 60.0) -> str:
        turn = self.events.begin(event, HOST, 10)
        if turn.outcome is BeginOutcome.GRANTED:
            tried = Attempt(id=event.message_id, at=event.now, address=HOOK, status=None, took=0.1, error=why)
            ending: Any = {"limit": 10, "random": 0.5, "begin": 2, "disable_after": 0.0}
            self.events.end(event, turn, tried, retry_in=wait, **ending)
        return turn.outcome.value


@pytest.fixture
def shop(bench: Bench) -> Shop:
    return Shop(bench)


def test_a_batch_has_one_event_when_all_its_jobs_have_ended(shop: Shop) -> None:
    shop.add("a", "b", n=2)
    shop.add("c")
    shop.end("a")
    shop.end("c", State.FAILED)
    assert shop.ids() == []
    shop.bench.store.jobs.cancel("b")
    assert shop.ids() == ["finished.1"]
    (event,) = shop.claim()
    assert (event.kind, event.url, event.message_id) == ("finished", HOOK, "b.finished.1")
    assert shop.claim() == []
    assert shop.send(event) == "granted"
    shop.bench.forward(LEASE + 1)
    assert shop.claim() == []
    assert shop.bench.audit() == []


def test_a_batch_that_grows_has_another_event(shop: Shop) -> None:
    shop.add("a")
    shop.end("a")
    shop.add("a", "b")
    assert shop.ids() == ["finished.1"]
    shop.end("b", State.FAILED)
    assert shop.ids() == ["finished.1", "finished.2"]
    shop.bench.store.jobs.retry("b")
    shop.end("b")
    assert shop.ids() == ["finished.1", "finished.2", "finished.3"]


def test_each_pause_is_an_event(shop: Shop) -> None:
    shop.add("a", "b")
    batches = shop.bench.store.batches
    batches.pause("b")
    batches.pause("b")
    batches.resume("b")
    batches.pause("b")
    assert [(each.kind, each.why) for each in shop.claim()] == [("paused", "request")] * 2
    assert shop.ids() == ["paused.1", "paused.2"]


@pytest.mark.parametrize("options", [{"callback_url": None}, {"notify_unbegun": False}])
def test_a_batch_without_an_address_or_that_cost_nothing_has_none(bench: Bench, options: dict[str, Any]) -> None:
    shop = Shop(bench, **options)
    shop.add("a")
    bench.store.batches.pause("b")
    bench.store.jobs.cancel("a")
    assert (shop.ids(), shop.claim()) == ([], [])
    assert not [key for key in bench.dump() if key.startswith(("ev:", "be:"))]


def test_a_batch_of_which_a_job_ended_at_the_provider_has_one(bench: Bench) -> None:
    shop = Shop(bench, notify_unbegun=False)
    shop.add("a", "b")
    shop.end("a")
    bench.store.jobs.cancel("b")
    assert shop.ids() == ["finished.1"]


def test_an_event_of_a_killed_worker_is_due_again(shop: Shop) -> None:
    shop.add("a")
    shop.end("a")
    (event,) = shop.claim()
    turn = shop.events.begin(event, HOST, 10)
    assert turn.outcome is BeginOutcome.GRANTED
    # Another message for it, while it is under way
    (again,) = shop.events.claim([event.id])
    assert shop.events.begin(again, HOST, 10).outcome is BeginOutcome.REFUSED
    shop.bench.forward(LEASE + 1)
    (again,) = shop.claim()
    assert shop.send(again) == "granted"
    assert shop.events.claim([event.id]) == []


def test_a_failure_is_repeated_given_up_and_replayed(shop: Shop) -> None:
    log = shop.bench.store.delivery_log
    shop.add("a")
    shop.end("a")
    (event,) = shop.claim()
    shop.send(event, "ReadTimeout")
    assert shop.claim() == []
    shop.bench.forward(60)
    (event,) = shop.claim()
    assert (event.tries, event.error) == (1, "ReadTimeout")
    shop.send(event, "ReadTimeout", wait=None)
    page = log.page(["shop"], [NotificationState.GIVEN_UP]).notifications
    assert [(each.event, each.batch, each.job, len(each.attempts)) for each in page] == [
        ("batch.finished", "b", None, 2)
    ]
    assert log.replay([event.id], "other") == [ReplayOutcome.UNKNOWN]
    assert log.replay([event.id], "shop") == [ReplayOutcome.OWED]
    (event,) = shop.claim()
    shop.send(event)
    assert [each.state for each in log.of_batch("b")] == [NotificationState.DELIVERED]


def test_one_that_waits_gets_the_place_that_is_free(shop: Shop) -> None:
    shop.add("a", "b")
    shop.end("a")
    shop.bench.store.batches.pause("b")
    shop.bench.store.jobs.cancel("b")
    first, second = shop.claim()
    turn = shop.events.begin(first, HOST, 1)
    assert shop.events.begin(second, HOST, 1).outcome is BeginOutcome.WAITS
    tried = Attempt(id="x", at=first.now, address=HOOK, status=204, took=0.1)
    ending: Any = {"limit": 1, "random": 0.5, "begin": 2, "disable_after": 0.0, "retry_in": None}
    assert shop.events.end(first, turn, tried, **ending) == [second.id]
    (second,) = shop.events.claim([second.id])
    assert shop.send(second) == "granted"


def test_a_batch_is_deleted_with_its_events_once_they_are_not_owed(shop: Shop) -> None:
    bench = shop.bench
    shop.add("a")
    shop.end("a")
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    assert bench.store.jobs.purge()[1] == 0
    (event,) = shop.claim()
    shop.send(event)
    assert bench.store.jobs.purge()[1] == 1
    assert not [key for key in bench.dump() if key.startswith(("ev:", "be:", "na:", "ns:", "event"))]


def test_jobs_without_a_callback_cost_no_more_commands(bench: Bench) -> None:
    """The last job of a price class asks once whether the batch has ended. No other one does."""
    shop = Shop(bench, callback_url=None)
    shop.add("a", "b", "c")
    bench.store.attempts.admit(10)
    for claim in bench.store.attempts.claim(["a", "b", "c"]):
        bench.store.attempts.mark_in_progress(claim.id, claim.fence, claim.id)

    def calls(job_id: str) -> int:
        bench.raw.config_resetstat()
        images = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
        bench.store.attempts.finish(job_id, State.COMPLETED, images, "callback")
        stats = bench.raw.info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name in ("cmdstat_hmget", "cmdstat_hset"))

    calls("a")
    assert calls("c") <= calls("b") + 1


def change(shop: Shop, step: str, number: int, known: list[str], unfinished: list[str]) -> None:
    """Change the batch as a step says. `unfinished`: jobs that have not ended."""
    store = shop.bench.store
    if step == "add":
        known.append(f"job-{number}")
        shop.add(known[-1], n=number % 2 + 1)
    elif step == "sweep" and known:
        store.batches.cancel("b")
    elif step == "retry":
        failed = [each.id for each in store.jobs.get_many(known) if each and each.state is State.FAILED]
        for each in failed[:1]:
            store.jobs.retry(each)
    elif step in ENDS and unfinished:
        shop.end(unfinished[0], ENDS[step])


ENDS = {"complete": State.COMPLETED, "fail": State.FAILED, "cancel": State.CANCELLED}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["add", *ENDS, "retry", "sweep"]), max_size=25))
def test_whatever_happens_each_end_of_all_jobs_is_one_event(bench: Bench, steps: list[str]) -> None:
    bench.start_afresh()
    shop, known, expected = Shop(bench), list[str](), 0

    def unfinished() -> list[str]:
        return [each.id for each in bench.store.jobs.get_many(known) if each and not each.state.final]

    for number, step in enumerate(steps):
        before = unfinished()
        change(shop, step, number, known, before)
        expected += bool(before) and not unfinished()
    assert Counter(each.partition(".")[0] for each in shop.ids()) == Counter({"finished": expected} if expected else {})
    assert [each.kind for each in shop.claim()] == ["finished"] * expected


def test_an_upload_of_known_jobs_repeats_no_event(shop: Shop) -> None:
    uploads = shop.bench.store.uploads
    uploads.stage("t", [new("a")])
    shop.add("a")
    shop.end("a")
    uploads.commit("t", "b", 1, shop.options)
    assert shop.ids() == ["finished.1"]


def test_an_end_during_an_upload_of_known_jobs_has_its_event(shop: Shop) -> None:
    uploads = shop.bench.store.uploads
    uploads.stage("t", [new("a")])
    shop.add("a")
    shop.bench.raw.hset(shop.bench.keys.member("batch", "b"), "do", "commit")
    shop.end("a")
    assert shop.ids() == []
    shop.bench.raw.hdel(shop.bench.keys.member("batch", "b"), "do")
    uploads.commit("t", "b", 1, shop.options)
    assert shop.ids() == ["finished.1"]


def test_a_new_event_does_not_replace_one_that_is_owed(shop: Shop) -> None:
    shop.add("a")
    shop.end("a")
    shop.add("c")
    for _ in range(EVENTS_KEPT + 5):
        shop.bench.store.batches.pause("b")
        shop.bench.store.batches.resume("b")
    assert "finished.1" in shop.ids()
    assert len(shop.ids()) == EVENTS_KEPT
    assert shop.bench.audit() == []


@pytest.mark.parametrize(
    "damage",
    [
        ("DEL", "{b}:event-alarms"),
        ("HSET", "{b}:b:b", "events_owed", 7),
        ("HSET", "{b}:b:b", "events_owed", 0),
        ("HSET", "{b}:b:b", "events_owed", "x"),
        ("DEL", "{b}:ns:p|shop"),
    ],
)
def test_the_audit_finds_wrong_events_and_repairs_them(shop: Shop, damage: tuple[Any, ...]) -> None:
    shop.add("a")
    shop.end("a")
    bench = shop.bench
    damage = (damage[0], damage[1].replace("{b}:event-alarms", bench.keys.singleton("event_alarms")), *damage[2:])
    bench.raw.execute_command(*damage)
    assert ("event", "b") in {(found.rule, found.id) for found in bench.audit()}

    repair(bench.store)

    assert bench.audit() == []
    (event,) = shop.claim()
    assert shop.send(event) == "granted"
    assert bench.audit() == []
