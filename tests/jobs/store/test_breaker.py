"""The circuit breaker of a lane: when it opens, what waits meanwhile, how probes close it."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.audit.audit import audit
from jobs.lane_health import FAILURES_TO_OPEN, PROBE_BASE, Reachability
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.bench import Bench

Make = Callable[..., NewJob]
_RESULT = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
LANES = pooled((LaneSettings(name="a"), LaneSettings(name="b")))


def silence(bench: Bench, times: int = FAILURES_TO_OPEN, store: Store | None = None) -> None:
    """Make submissions without an answer, through the first lane. Their jobs are in doubt."""
    store = store or bench.store
    first = bench.raw.incrby("test:silences", times) - times
    ids = [f"s{first + number}" for number in range(times)]
    store.jobs.enqueue([NewJob(id=each, text="{}", model="m") for each in ids])
    store.attempts.admit(1000, store.context.settings.lanes[0])
    for claim in store.attempts.claim(ids):
        store.attempts.mark_in_doubt(claim.id, claim.fence, "ReadTimeout", wait=3.0, reachability=Reachability.SILENCE)


def is_open(store: Store) -> bool:
    return store.lanes.get(store.context.settings.lanes[0].name).open_since is not None


def test_it_opens_after_consecutive_silences_with_a_reason(bench: Bench) -> None:
    silence(bench, FAILURES_TO_OPEN - 1)
    assert not is_open(bench.store)
    silence(bench, 1)
    lane = bench.store.lanes.get()
    assert (lane.held, lane.reason, lane.opened) == (True, "ReadTimeout", 1)
    assert lane.open_since.timestamp() * 1e6 == bench.now
    assert [(change.what, change.reason) for change in lane.history] == [("opened", "ReadTimeout")]
    silence(bench, 2)  # submissions under way change nothing more
    assert bench.store.lanes.get().opened == 1


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "a submission": lambda b: b.put(State.IN_PROGRESS),
    "a refusal of the account": lambda b: b.store.lanes.hold("402", base=1.0, cap=1.0),
    "not created": lambda b: b.store.attempts.requeue(
        "fox", b.claimed().fence, "no id", wait=5.0, reachability=Reachability.ANSWER
    ),
    "a look-up that changed nothing": lambda b: (
        b.put(State.IN_PROGRESS),
        b.store.attempts.reschedule_lookup(b.due(), 5.0, reachability=Reachability.ANSWER),
    ),
    "a look-up that found the end": lambda b: (
        b.put(State.IN_PROGRESS),
        b.store.attempts.finish("fox", State.COMPLETED, _RESULT, "poll", fence=b.due().job.fence),
    ),
    "adopted": lambda b: (b.put(State.IN_DOUBT), b.store.attempts.mark_in_progress("fox", b.due().job.fence, "t")),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_resets_the_count(answer: Callable[[Any], Any], bench: Bench) -> None:
    silence(bench, FAILURES_TO_OPEN - 1)
    answer(bench)
    bench.forward(1)
    assert "bad" not in bench.lane()


NO_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "a callback": lambda b: b.store.attempts.finish("fox", State.COMPLETED, _RESULT, "callback"),
    "an unreadable answer": lambda b: b.store.attempts.mark_in_doubt("fox", 1, "HTML"),
    "a worker that was too slow": lambda b: b.store.attempts.requeue("fox", 1, ""),
}


@pytest.mark.parametrize("other", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_neither_an_answer_nor_silence_leaves_the_count(other: Callable[[Any], Any], bench: Bench) -> None:
    bench.claimed()
    silence(bench, FAILURES_TO_OPEN - 1)
    other(bench)
    assert bench.lane()["bad"] == str(FAILURES_TO_OPEN - 1)


def test_polls_without_an_answer_open_it(bench: Bench) -> None:
    for number in range(FAILURES_TO_OPEN):
        bench.put(State.IN_PROGRESS, f"j{number}")
    bench.forward(10)
    for due in bench.store.attempts.claim_due(100).dues:
        assert bench.store.attempts.reschedule_lookup(due, 5.0, reason="poll: 503", reachability=Reachability.SILENCE)
    assert bench.store.lanes.get().reason == "poll: 503"


def test_while_it_is_open_nothing_is_admitted_or_claimed(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("a")])
    bench.store.attempts.admit(1)
    silence(bench)
    bench.store.jobs.enqueue([make("b")])
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.store.attempts.claim(["a"]) == []
    assert bench.ready() == ["a", "b"]
    assert bench.audit() == []


def test_while_it_is_open_polls_wait_with_jitter_and_no_job_expires(bench: Bench) -> None:
    store = bench.with_settings(deadline=60.0)
    for number in range(20):
        store.jobs.enqueue([NewJob(id=f"j{number}", text="{}", model="m")])
        store.attempts.admit(1)
        (claim,) = store.attempts.claim([f"j{number}"])
        store.attempts.mark_in_progress(claim.id, claim.fence, "t")
    silence(bench, store=store)
    bench.forward(600)
    claimed = store.attempts.claim_due(100)
    assert (claimed.dues, claimed.due_count) == ((), 20 + FAILURES_TO_OPEN)
    waits = sorted(bench.alarm(f"j{number}") or 0 for number in range(20))
    assert store.context.settings.poll_max / 2 <= waits[0] < waits[-1] <= store.context.settings.poll_max
    assert len(set(waits)) == 20
    # Nothing is due again at once
    assert store.attempts.claim_due(100).due_count == 0
    assert {store.jobs.get(f"j{number}").state for number in range(20)} == {State.IN_PROGRESS}


def test_while_it_is_open_leases_end_and_deliveries_are_made(bench: Bench, make: Make) -> None:
    bench.claimed("killed")
    bench.put(State.COMPLETED, "ended", owed="n")
    bench.put(State.EXPIRED, "late", owed="n")
    silence(bench)
    fence = bench.store.jobs.get("killed").fence
    bench.forward(bench.store.context.settings.submit_lease)
    found = bench.store.attempts.claim_due(100).dues
    assert {due.job.id for due in found} == {"ended", "late"}
    assert all(due.job.owed for due in found)
    job = bench.store.jobs.get("killed")
    assert (job.state, job.fence) == (State.IN_DOUBT, fence + 1)
    assert bench.alarm("killed") > 0
    assert bench.audit() == []


def test_one_worker_at_a_time_probes_when_a_probe_is_due(bench: Bench) -> None:
    silence(bench)
    assert bench.store.lanes.claim_probes() == []
    bench.forward(PROBE_BASE)
    (probe,) = bench.store.lanes.claim_probes()
    assert (probe.lane, probe.count, probe.reason) == ("default", 0, "ReadTimeout")
    assert bench.store.lanes.claim_probes() == []
    assert bench.store.lanes.record_probe(probe, answered=False, wait=7.0) == "open"
    bench.forward(6.9)
    assert bench.store.lanes.claim_probes() == []
    bench.forward(0.1)
    assert [each.count for each in bench.store.lanes.claim_probes()] == [1]
    # The worker with the probe was killed: only the next one's result counts
    bench.forward(bench.store.context.settings.submit_lease)
    (third,) = bench.store.lanes.claim_probes()
    assert third.count == 2
    assert bench.store.lanes.record_probe(probe, answered=True) == "refused"
    assert is_open(bench.store)


def test_an_answer_to_a_probe_closes_it_and_jobs_continue(bench: Bench, make: Make) -> None:
    silence(bench)
    bench.store.jobs.enqueue([make("a"), make("b")])
    bench.forward(PROBE_BASE)
    (probe,) = bench.store.lanes.claim_probes()
    bench.hints_arrive()
    assert bench.store.lanes.record_probe(probe, answered=True, reason="the provider answered probe 1") == "closed"
    assert bench.raw.exists(bench.keys.singleton("admit_hint"))
    lane = bench.store.lanes.get()
    assert (lane.held, lane.reason, lane.open_since, lane.opened) == (False, None, None, 1)
    assert [change.what for change in lane.history] == ["closed", "opened"]
    assert bench.store.attempts.admit(10).ids == ("a", "b")
    assert bench.store.lanes.record_probe(probe, answered=True) == "refused"
    # Jobs in doubt are looked up again
    bench.forward(3)
    assert len(bench.store.attempts.claim_due(100).dues) == FAILURES_TO_OPEN
    # It opens again only after as many silences
    silence(bench, FAILURES_TO_OPEN - 1)
    assert not is_open(bench.store)
    silence(bench, 1)
    assert bench.store.lanes.get().opened == 2


def test_a_hold_that_began_meanwhile_outlasts_the_breaker(bench: Bench, make: Make) -> None:
    silence(bench)
    bench.store.jobs.enqueue([make("fox")])
    # A late answer to an earlier submission holds the lane
    bench.store.lanes.hold("429", base=1.0, cap=60.0, least=900.0)
    bench.forward(PROBE_BASE)
    (probe,) = bench.store.lanes.claim_probes()
    bench.store.lanes.record_probe(probe, answered=True)
    assert bench.store.attempts.admit(1).ids == ()
    bench.forward(900)
    assert bench.store.attempts.admit(1).ids == ("fox",)


def test_a_submission_counts_once(bench: Bench) -> None:
    claim = bench.claimed()
    for _ in range(FAILURES_TO_OPEN):
        bench.store.attempts.mark_in_doubt("fox", claim.fence, "reset", reachability=Reachability.SILENCE)
    assert bench.lane()["bad"] == "1"


def test_an_open_breaker_stops_its_lane_only(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    silence(bench, store=store)
    store.jobs.enqueue([make("fox"), make("hen")])
    a, b = LANES
    assert store.attempts.admit(10, a).ids == ()
    assert store.attempts.admit(10, b).ids == ("fox", "hen")
    (fox, hen) = store.attempts.claim(["fox", "hen"])
    store.attempts.mark_in_progress(fox.id, fox.fence, "t")
    bench.forward(5)
    # Only the polls of the silent lane wait
    assert [due.job.id for due in store.attempts.claim_due(100).dues] == ["fox"]
    assert [lane.open_since is not None for lane in store.lanes.get_all()] == [True, False]
    assert hen.lane == "b"
    assert audit(store) == []


def test_an_unknown_reachability_is_refused(bench: Bench) -> None:
    claim = bench.claimed()
    with pytest.raises(Exception, match="not noise"):
        bench.store.context.scripts.call("mark_in_doubt", "fox", claim.fence, "why", 0, "0", "", "noise")


def test_the_reason_of_a_waiting_job_names_the_silent_lane(bench: Bench, make: Make) -> None:
    silence(bench)
    bench.store.jobs.enqueue([make("fox"), make("hen")], "x")
    fox = bench.store.jobs.with_reason(bench.store.jobs.get("fox"))
    assert "lane default has not answered since" in str(fox.reason)
    assert "ReadTimeout" in str(bench.store.batches.get("x").reason)
