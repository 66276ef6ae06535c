"""A record written by a later version is left unchanged, and other jobs continue."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.errors import RecordTooNew, StoreUnavailable
from jobs.fields import VERSION
from jobs.job import Job
from jobs.result import Result
from jobs.states import State
from tests.support.bench import Bench, MakeJob, new

VERBS: dict[str, Callable[[Any], Any]] = {
    "mark_in_progress": lambda b: b.store.attempts.mark_in_progress("fox", 1, "t"),
    "mark_in_doubt": lambda b: b.store.attempts.mark_in_doubt("fox", 1, "why"),
    "requeue": lambda b: b.store.attempts.requeue("fox", 1, "why"),
    "finish": lambda b: b.store.attempts.finish("fox", State.COMPLETED, Result(), "callback"),
    "record_callback": lambda b: b.store.attempts.record_callback("fox", needs_lookup=True),
    "cancel": lambda b: b.store.jobs.cancel("fox"),
    "retry": lambda b: b.store.jobs.retry("fox"),
    "revise": lambda b: b.store.revisions.revise(new("fox", "{}")),
    "regenerate": lambda b: b.store.regenerations.regenerate("fox", new("fox.r2")),
    "review": lambda b: b.store.reviews.review("fox", 0, starred=True),
    "pause": lambda b: b.store.jobs.pause("fox"),
    "park": lambda b: b.store.celery.park("fox", "fox", "{}"),
    "message_finished": lambda b: b.store.celery.message_finished("fox", "mark"),
    "get": lambda b: b.store.jobs.get("fox"),
}


def mark_as_newer(bench: Bench, job_id: str = "fox") -> None:
    """Mark the record as written by the next version."""
    bench.raw.hset(bench.keys.member("job", job_id), "Z", VERSION + 1)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_every_verb_refuses_a_newer_record_with_the_reason(bench: Bench, state: State, verb: str) -> None:
    bench.put(state)
    mark_as_newer(bench)
    before = bench.dump()
    with pytest.raises(RecordTooNew, match=r"later version .* fox"):
        VERBS[verb](bench)
    assert bench.dump() == before


def test_a_newer_record_is_reported_as_unavailable() -> None:
    assert issubclass(RecordTooNew, StoreUnavailable)


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_the_alarm_of_a_newer_record_is_kept_and_other_jobs_continue(bench: Bench, state: State) -> None:
    bench.claimed("hen")
    bench.put(state, owed="n")
    mark_as_newer(bench)
    alarm = bench.alarm("fox")
    fields = bench.fields("fox")
    bench.forward(max(bench.alarm("hen") or 0, alarm or 0))
    assert [due.job.id for due in bench.store.attempts.claim_due(10).dues] == ["hen"]
    assert bench.store.deliveries.claim(["fox"]) == []
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    assert bench.fields("fox") == fields
    # Its alarm remains for processes of the later version
    assert (bench.alarm("fox") is None) == (alarm is None)


def test_a_newer_record_keeps_its_place_in_the_queue(bench: Bench) -> None:
    bench.job("fox")
    bench.job("hen")
    mark_as_newer(bench)
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.ready() == ["fox", "hen"]


def test_a_newer_record_is_not_claimed(bench: Bench) -> None:
    bench.job("fox")
    bench.job("hen")
    bench.store.attempts.admit(2)
    mark_as_newer(bench)
    before = bench.fields("fox")
    assert [claim.id for claim in bench.store.attempts.claim(["fox", "hen"])] == ["hen"]
    assert bench.fields("fox") == before


def test_a_sweep_waits_for_a_process_that_can_read_the_newer_record(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox"), make("hen")], "x")
    mark_as_newer(bench)
    acted = bench.store.batches.cancel("x")
    assert (acted.affected, acted.pending) == (0, 2)
    bench.store.batches.sweep()
    assert bench.store.jobs.get("hen").state is State.QUEUED
    bench.raw.hdel(bench.keys.member("job", "fox"), "Z")  # now this version can read it
    bench.store.batches.sweep()
    assert [bench.store.jobs.get(each).state for each in ("fox", "hen")] == [State.CANCELLED] * 2
    assert bench.audit() == []


def test_records_of_this_version_and_the_one_before_are_read() -> None:
    fields = {"s": "queued", "m": "m", "c": "0", "u": "0"}
    for version in {VERSION, max(1, VERSION - 1)}:
        assert Job.from_fields("fox", {**fields, "Z": str(version)}).state is State.QUEUED
    with pytest.raises(RecordTooNew):
        Job.from_fields("fox", {**fields, "Z": str(VERSION + 1)})
