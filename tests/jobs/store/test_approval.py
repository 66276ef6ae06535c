"""Batches that wait for an approval, as a whole or but for a pilot: nothing else of them is admitted before."""

import itertools
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from jobs.errors import BatchNotFound, NotAllowed
from jobs.new_job import BatchOptions
from jobs.read_models import Pilot, Progress
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.bench import Bench, new

PAUSED, PILOT = BatchOptions(paused=True), BatchOptions(pilot=2)
IMAGE = {"type": "image", "url": "https://cdn.example.com/1.png"}


def enqueue(bench: Bench, ids: str, options: BatchOptions = PILOT, **more: Any) -> None:
    bench.store.jobs.enqueue([new(each, **more) for each in ids.split()], "x", options)


def admitted(bench: Bench) -> set[str]:
    return set(bench.store.attempts.admit(100).ids)


def end(bench: Bench, job_id: str, state: State = State.COMPLETED, cost: str = "0.5") -> None:
    (claim,) = bench.store.attempts.claim([job_id])
    if state is State.FAILED:
        result = Result(error={"code": "1301", "message": "no"})
    else:
        result = Result(output=(IMAGE,), cost=Decimal(cost))
    assert bench.store.attempts.finish(claim.external_task_id, state, result, "poll").outcome == "finished"


def pilot(bench: Bench) -> Pilot | None:
    return bench.store.batches.get("x").pilot


def test_a_paused_batch_waits_until_it_is_approved(bench: Bench) -> None:
    enqueue(bench, "a b", PAUSED)
    enqueue(bench, "c", BatchOptions())
    batch = bench.store.batches.get("x")
    assert (batch.paused, batch.awaits_approval, batch.pilot, batch.eta) == (True, True, None, None)
    assert "approve" in (batch.reason or "")
    assert "approve" in (bench.store.jobs.show("a").reason or "")
    assert admitted(bench) == set()
    assert bench.audit() == []

    approved = bench.store.batches.approve("x")

    assert (approved.action, approved.affected, approved.admit_hint) == ("approve", 3, True)
    assert bench.store.batches.approve("x").affected == 0
    batch = bench.store.batches.get("x")
    assert (batch.paused, batch.awaits_approval, batch.reason) == (False, False, None)
    enqueue(bench, "d")
    assert admitted(bench) == {"a", "b", "c", "d"}
    assert bench.audit() == []


def test_a_resume_does_not_approve_but_sets_a_cap(bench: Bench) -> None:
    enqueue(bench, "a", PAUSED)
    with pytest.raises(NotAllowed):
        bench.store.batches.resume("x")
    assert bench.store.batches.resume("x", max_cost=Decimal(3)).affected == 0
    batch = bench.store.batches.get("x")
    assert (batch.max_cost, batch.paused, admitted(bench)) == (Decimal(3), True, set())


def test_an_approval_leaves_a_pause_on_request(bench: Bench) -> None:
    enqueue(bench, "a", PAUSED)
    bench.store.batches.pause("x")
    bench.store.batches.approve("x")
    assert (bench.store.batches.get("x").reason, admitted(bench)) == ("paused on request", set())
    bench.store.batches.resume("x")
    assert admitted(bench) == {"a"}


def test_a_resume_returns_to_the_wait_for_an_approval(bench: Bench) -> None:
    enqueue(bench, "a", PAUSED)
    bench.store.batches.pause("x")
    assert bench.store.batches.resume("x").affected == 1
    assert bench.store.batches.get("x").paused
    assert admitted(bench) == set()
    bench.store.batches.approve("x")
    assert admitted(bench) == {"a"}


def test_an_unknown_batch_cannot_be_approved(bench: Bench) -> None:
    with pytest.raises(BatchNotFound):
        bench.store.batches.approve("x")
    with pytest.raises(BatchNotFound):
        bench.store.batches.begin_pilot("x", ["a"])


# --- the pilot --------------------------------------------------------------------------------------------------------


def test_the_pilot_runs_and_the_others_wait_for_an_approval(bench: Bench) -> None:
    enqueue(bench, "a b c d e")
    assert admitted(bench) == set()
    begun = bench.store.batches.begin_pilot("x", ["b", "d", "of another batch"])
    assert (begun.affected, begun.admit_hint) == (2, True)
    assert pilot(bench) == Pilot(2, 2, Decimal(0))
    assert bench.store.statistics.totals().ready == {"": 2}
    assert bench.audit() == []
    assert admitted(bench) == {"b", "d"}
    batch = bench.store.batches.get("x")
    assert (batch.paused, batch.awaits_approval, batch.progress) == (False, True, Progress.RUNNING)
    assert "2 of the 2 jobs" in (bench.store.jobs.show("a").reason or "")
    assert bench.store.jobs.show("b").reason is None

    end(bench, "b")
    assert not bench.store.batches.get("x").paused
    end(bench, "d", State.FAILED)

    batch = bench.store.batches.get("x")
    assert (batch.paused, batch.progress, batch.pilot) == (True, Progress.PAUSED, Pilot(2, 0, Decimal("0.5")))
    assert batch.expected_cost == Decimal(2)  # what the pilot has cost, and three more jobs at that price
    assert "is over" in (batch.reason or "")
    assert admitted(bench) == set()
    assert bench.audit() == []

    assert bench.store.batches.approve("x").affected == 3
    assert admitted(bench) == {"a", "c", "e"}
    for each in "ace":
        end(bench, each)
    batch = bench.store.batches.get("x")
    assert (batch.done, batch.cost, batch.pilot) == (True, Decimal(2), Pilot(2, 0, Decimal("0.5")))
    assert bench.audit() == []


def test_until_the_upload_ends_nothing_runs_and_a_second_choice_changes_nothing(bench: Bench) -> None:
    enqueue(bench, "a b c")
    assert pilot(bench) == Pilot(None, 0, Decimal(0))
    assert "end of the upload" in (bench.store.batches.get("x").reason or "")
    bench.store.batches.begin_pilot("x", ["a"])
    assert bench.store.batches.begin_pilot("x", ["b", "c"]).affected == 1
    assert admitted(bench) == {"a"}


def test_a_batch_smaller_than_its_pilot_needs_no_approval_until_it_grows(bench: Bench) -> None:
    enqueue(bench, "a b", BatchOptions(pilot=20))
    bench.store.batches.begin_pilot("x", ["a", "b"])
    assert admitted(bench) == {"a", "b"}
    end(bench, "a")
    end(bench, "b")
    batch = bench.store.batches.get("x")
    assert (batch.done, batch.paused) == (True, False)
    enqueue(bench, "c d")
    batch = bench.store.batches.get("x")
    assert (batch.done, batch.paused, admitted(bench)) == (False, True, set())
    bench.store.batches.approve("x")
    assert admitted(bench) == {"c", "d"}
    assert bench.audit() == []


def test_a_batch_that_grows_during_its_pilot_waits_with_all_others(bench: Bench) -> None:
    enqueue(bench, "a b")
    bench.store.batches.begin_pilot("x", ["a"])
    enqueue(bench, "c d")
    assert admitted(bench) == {"a"}
    end(bench, "a")
    assert bench.store.batches.get("x").paused
    assert bench.store.batches.approve("x").affected == 3


def test_a_pilot_without_jobs_waits_at_once(bench: Bench) -> None:
    enqueue(bench, "a b")
    bench.store.batches.begin_pilot("x", ["unknown"])
    assert (bench.store.batches.get("x").paused, pilot(bench)) == (True, Pilot(0, 0, Decimal(0)))


def test_an_approval_before_the_pilot_is_over_lets_all_run(bench: Bench) -> None:
    enqueue(bench, "a b c")
    bench.store.batches.begin_pilot("x", ["a"])
    bench.store.batches.approve("x")
    assert admitted(bench) == {"a", "b", "c"}
    end(bench, "a")
    assert not bench.store.batches.get("x").paused


def test_an_approval_before_the_pilot_is_chosen_lets_all_run(bench: Bench) -> None:
    enqueue(bench, "a b c")
    bench.store.batches.approve("x")
    assert bench.store.batches.begin_pilot("x", ["a"]).affected == 0
    assert admitted(bench) == {"a", "b", "c"}
    assert bench.audit() == []


@pytest.mark.parametrize("how", ["cancelled", "expired", "failed"])
def test_the_pilot_is_over_however_its_jobs_end_and_a_retry_runs_them_again(how: str, bench: Bench) -> None:
    enqueue(bench, "a b c", expires_in=60 if how == "expired" else None)
    bench.store.batches.begin_pilot("x", ["a"])
    if how == "cancelled":
        bench.store.jobs.cancel("a")
    elif how == "expired":
        bench.forward(120)
        admitted(bench)
    else:
        admitted(bench)
        end(bench, "a", State.FAILED)
    assert bench.store.jobs.get("a").state == how
    assert bench.store.batches.get("x").paused
    assert bench.audit() == []

    bench.store.jobs.retry("a")

    assert not bench.store.batches.get("x").paused
    assert admitted(bench) == {"a"}
    end(bench, "a")
    assert bench.store.batches.get("x").paused
    assert bench.audit() == []


def test_a_pause_stops_the_pilot_too(bench: Bench) -> None:
    enqueue(bench, "a b c")
    bench.store.batches.begin_pilot("x", ["a", "b"])
    (claimed,) = bench.store.attempts.admit(1).ids
    bench.store.batches.pause("x")
    assert bench.store.attempts.claim([claimed]) == []
    assert admitted(bench) == set()
    assert bench.audit() == []
    bench.store.batches.resume("x")
    assert admitted(bench) == {"a", "b"}
    bench.store.batches.pause("x")
    bench.store.batches.approve("x")
    assert admitted(bench) == set()
    bench.store.batches.resume("x")
    assert admitted(bench) | {"a", "b"} == {"a", "b", "c"}
    assert bench.audit() == []


def test_a_cap_stops_the_pilot_and_a_higher_one_does_not_approve_the_batch(bench: Bench) -> None:
    enqueue(bench, "p", BatchOptions())
    admitted(bench)
    end(bench, "p")
    bench.store.jobs.enqueue([new(each) for each in "abc"], "y", BatchOptions(pilot=2, max_cost=Decimal("0.4")))
    bench.store.batches.begin_pilot("y", ["a", "b"])
    assert admitted(bench) == set()
    assert "max_cost" in (bench.store.batches.get("y").reason or "")
    bench.store.batches.resume("y", max_cost=Decimal(5))
    assert admitted(bench) == {"a", "b"}
    assert bench.audit() == []


def test_a_cancel_ends_all_and_what_is_retried_waits_for_an_approval(bench: Bench) -> None:
    enqueue(bench, "a b c")
    bench.store.batches.begin_pilot("x", ["a"])
    bench.store.batches.cancel("x")
    batch = bench.store.batches.get("x")
    assert (batch.done, batch.paused, batch.counts[State.CANCELLED]) == (True, False, 3)
    bench.store.batches.retry("x", [State.CANCELLED])
    assert admitted(bench) == {"a"}
    assert bench.store.batches.get("x").awaits_approval
    end(bench, "a")
    assert bench.store.batches.get("x").paused
    assert bench.audit() == []


@pytest.mark.parametrize("batch", [PAUSED, PILOT], ids=["paused", "pilot"])
def test_lines_that_come_all_or_none_wait_as_well(batch: BatchOptions, bench: Bench) -> None:
    jobs = [new(each) for each in "abc"]
    bench.store.uploads.stage("t", jobs)
    assert bench.store.uploads.commit("t", "x", 3, batch).affected == 3
    assert admitted(bench) == set()
    bench.store.batches.begin_pilot("x", ["c"])
    assert admitted(bench) == ({"c"} if batch.pilot else set())
    bench.store.batches.approve("x")
    assert admitted(bench) | {"c"} == {"a", "b", "c"}
    assert bench.audit() == []


@pytest.mark.slow
def test_any_order_of_calls_pays_for_nothing_before_the_approval(bench: Bench) -> None:
    calls = {
        "pilot": lambda store: store.batches.begin_pilot("x", ["b", "c"]),
        "pause": lambda store: store.batches.pause("x"),
        "resume": lambda store: store.batches.resume("x"),
        "cancel a job": lambda store: store.jobs.cancel("b"),
        "grow": lambda store: store.jobs.enqueue([new("e")], "x"),
        "retry": lambda store: store.batches.retry("x", [State.CANCELLED]),
    }
    for order in itertools.permutations(calls, 4):
        bench.start_afresh()
        enqueue(bench, "a b c d")
        for name in order:
            with suppress(NotAllowed):
                calls[name](bench.store)
            assert admitted(bench) <= {"b", "c"}, order
        assert bench.audit() == [], order
        bench.store.batches.approve("x")
        if bench.store.batches.get("x").paused:
            bench.store.batches.resume("x")
        admitted(bench)
        assert bench.store.statistics.totals().ready in ({}, {"": 0}), order
        assert bench.audit() == [], order


def test_the_audit_corrects_the_count_of_the_pilot(bench: Bench, store: Store) -> None:
    enqueue(bench, "a b c")
    bench.store.batches.begin_pilot("x", ["a"])
    bench.raw.hincrby("{b}:b:x", "pilot_left", 3)
    assert {each.rule for each in bench.audit()} == {"pilot"}
