"""A record of a later version: this one leaves it as it is, and goes on with the others."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.errors import RecordTooNew, StoreUnavailable
from jobs.fields import VERSION
from jobs.job import Job, Result
from jobs.states import State
from tests.support.bench import Bench, MakeJob

VERBS: dict[str, Callable[[Any], Any]] = {
    "started": lambda b: b.store.attempts.mark_in_progress("fox", 1, "t"),
    "doubt": lambda b: b.store.attempts.mark_in_doubt("fox", 1, "why"),
    "requeue": lambda b: b.store.attempts.requeue("fox", 1, "why"),
    "finish": lambda b: b.store.attempts.finish("fox", State.COMPLETED, Result(), "callback"),
    "nudge": lambda b: b.store.attempts.record_callback("fox", look=True),
    "cancel": lambda b: b.store.jobs.cancel("fox"),
    "retry": lambda b: b.store.jobs.retry("fox"),
    "pause": lambda b: b.store.jobs.pause("fox"),
    "park": lambda b: b.store.celery.park("fox", "fox", "{}"),
    "told": lambda b: b.store.celery.message_finished("fox", "mark"),
    "get": lambda b: b.store.jobs.get("fox"),
}


def later(bench: Bench, job_id: str = "fox") -> None:
    """As if a process of the next version had written it."""
    bench.raw.hset(bench.keys.member("job", job_id), "Z", VERSION + 1)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_what_is_done_to_it_alone_is_refused_and_says_why(bench: Bench, state: State, verb: str) -> None:
    bench.put(state)
    later(bench)
    before = bench.dump()
    with pytest.raises(RecordTooNew, match="fox was written by a later version"):
        VERBS[verb](bench)
    assert bench.dump() == before


def test_it_counts_as_not_now() -> None:
    assert issubclass(RecordTooNew, StoreUnavailable)


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_an_alarm_of_it_is_left_to_others_and_the_rest_goes_on(bench: Bench, state: State) -> None:
    bench.claimed("hen")
    bench.put(state, owed="n")
    later(bench)
    alarm = bench.alarm("fox")
    fields = bench.fields("fox")
    bench.forward(max(bench.alarm("hen") or 0, alarm or 0))
    assert [due.job.id for due in bench.store.attempts.claim_due(10).dues] == ["hen"]
    assert bench.store.deliveries.claim(["fox"]) == []
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    assert bench.fields("fox") == fields
    # Still there for who knows what it means
    assert (bench.alarm("fox") is None) == (alarm is None)


def test_it_keeps_its_place_in_the_queue(bench: Bench) -> None:
    bench.job("fox")
    bench.job("hen")
    later(bench)
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.ready() == ["fox", "hen"]


def test_a_message_for_it_is_left_to_others(bench: Bench) -> None:
    bench.job("fox")
    bench.job("hen")
    bench.store.attempts.admit(2)
    later(bench)
    before = bench.fields("fox")
    assert [claim.id for claim in bench.store.attempts.claim(["fox", "hen"])] == ["hen"]
    assert bench.fields("fox") == before


def test_a_change_to_its_whole_batch_waits_for_who_can_make_it(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox"), make("hen")], "x")
    later(bench)
    acted = bench.store.batches.cancel("x")
    assert (acted.affected, acted.pending) == (0, 2)
    bench.store.batches.sweep()
    assert bench.store.jobs.get("hen").state is State.QUEUED
    bench.raw.hdel(bench.keys.member("job", "fox"), "Z")  # here is one
    bench.store.batches.sweep()
    assert [bench.store.jobs.get(each).state for each in ("fox", "hen")] == [State.CANCELLED] * 2
    assert bench.audit() == []


def test_this_version_and_the_one_before_are_read() -> None:
    fields = {"s": "queued", "m": "m", "c": "0", "u": "0"}
    for version in {VERSION, max(1, VERSION - 1)}:
        assert Job.from_fields("fox", {**fields, "Z": str(version)}).state is State.QUEUED
    with pytest.raises(RecordTooNew):
        Job.from_fields("fox", {**fields, "Z": str(VERSION + 1)})
