"""Signs of life in the store: heartbeats and rounds, the troubles that jobs and batches show, and their ETA."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from jobs.errors import JobNotFound, RecordDamaged
from jobs.liveness import STALLED_AFTER, WorkerState
from jobs.result import Result
from jobs.states import State
from jobs.store.stuck import Kind, counted, dead_ends
from jobs.task_names import DELIVER, RECONCILE, SUBMIT
from tests.support.bench import Bench, MakeJob

QUEUES = (SUBMIT, RECONCILE, DELIVER)


@pytest.fixture
def live(bench: Bench) -> Callable[..., None]:
    """`live(seconds)`: let the service work for so long, with a round and a heartbeat every second."""

    def work(seconds: int = 1) -> None:
        for _ in range(seconds):
            bench.store.liveness.beat(WorkerState.READING, QUEUES)
            bench.store.attempts.claim_due(100)
            bench.forward(1)

    return work


def codes(bench: Bench) -> list[str]:
    return [trouble.code for trouble in bench.store.liveness.troubles()]


def end(bench: Bench, *ids: str) -> None:
    """Submit these jobs, and complete them at once."""
    bench.store.attempts.admit(1000)
    for claim in bench.store.attempts.claim(list(ids)):
        bench.store.attempts.finish(claim.id, State.COMPLETED, Result(), "submit", fence=claim.fence)


def test_the_pulse_is_what_rounds_and_heartbeats_have_written(bench: Bench, live: Callable[..., None]) -> None:
    began = bench.now / 1e6
    live(30)
    bench.store.liveness.beat(WorkerState.BUSY, [SUBMIT])
    bench.store.liveness.beat(WorkerState.CUT_OFF)
    pulse = bench.store.liveness.pulse()
    assert pulse.round_age == pytest.approx(1)
    assert (pulse.first_heartbeat, pulse.resumed_at, pulse.refusal) == (began, began, "")
    assert pulse.read_at == {SUBMIT: pulse.now, RECONCILE: pulse.now - 1, DELIVER: pulse.now - 1}
    assert pulse.busy_at == pulse.cut_off_at == pulse.now
    assert bench.audit() == []


def test_a_service_that_has_just_begun_is_not_stalled(bench: Bench) -> None:
    assert codes(bench) == []
    bench.store.liveness.beat(WorkerState.READING, QUEUES)
    bench.forward(STALLED_AFTER)
    assert codes(bench) == []


def test_only_a_stall_moves_the_time_at_which_rounds_resumed(bench: Bench, live: Callable[..., None]) -> None:
    live()
    began = bench.store.liveness.pulse().resumed_at
    bench.forward(STALLED_AFTER - 1)
    live()
    assert bench.store.liveness.pulse().resumed_at == began
    bench.forward(STALLED_AFTER)
    assert codes(bench) == ["no_worker"]
    resumed = bench.now / 1e6
    live(2)
    assert bench.store.liveness.pulse().resumed_at == resumed
    assert codes(bench) == []


@pytest.mark.parametrize("key", ["totals", "heartbeats"])
@pytest.mark.parametrize("value", ["no number", "no hash"])
def test_damaged_signs_count_as_none_and_the_next_ones_replace_them(
    bench: Bench, live: Callable[..., None], key: str, value: str
) -> None:
    live()
    name = bench.keys.singleton(key)
    if value == "no hash":
        bench.raw.delete(name)
        bench.raw.set(name, value)
    else:
        bench.raw.hset(name, mapping=dict.fromkeys(["round", "resumed", "first", "busy", f"reads:{SUBMIT}"], value))
    assert codes(bench) == []
    bench.store.liveness.pulse()
    live()
    if key == "heartbeats":
        assert SUBMIT in bench.store.liveness.pulse().read_at


def test_unfinished_jobs_and_batches_name_the_stall(bench: Bench, make: MakeJob, live: Callable[..., None]) -> None:
    store = bench.with_settings(max_in_flight=4)
    live()
    # Given a pace of the lane, so that there would be an ETA
    store.jobs.enqueue([make(f"old{number}") for number in range(4)])
    store.attempts.admit(4)
    claims = store.attempts.claim([f"old{number}" for number in range(4)])
    assert all(store.attempts.mark_many_in_progress([(claim.id, claim.fence, "t") for claim in claims]))
    live(20)
    for claim in claims:
        store.attempts.finish(claim.id, State.COMPLETED, Result(), "callback")
    store.jobs.enqueue([make(f"x{number}") for number in range(20)], "x")
    store.jobs.enqueue([make("paused")], "p")
    store.batches.pause("p")
    store.jobs.enqueue([make("sent")], "s")
    live()
    assert (store.batches.get("x").reason, store.batches.get("x").eta) == (None, pytest.approx(2 * 20 * 20 / 4 + 20))
    bench.forward(STALLED_AFTER)

    def why(job_id: str) -> str | None:
        return store.jobs.with_reason(store.jobs.get(job_id)).reason

    stalled = store.batches.get("x")
    assert stalled.eta is None
    assert "no worker answers" in (stalled.reason or "")
    assert {batch.id: batch.reason for batch in store.batches.page().batches} == {
        "x": stalled.reason,
        "s": stalled.reason,
        "p": "paused on request",
    }
    assert (why("x0"), why("old0")) == (stalled.reason, None)
    assert why("paused") == "paused on request"
    assert store.batches.get("p").eta is None
    # The text stays the same while the stall lasts
    bench.forward(500)
    assert store.batches.get("x").reason == stalled.reason
    live()
    assert (store.batches.get("x").reason, why("x0")) == (None, None)
    assert store.batches.get("x").eta is not None


def test_a_job_at_the_provider_names_the_stall_too(bench: Bench, live: Callable[..., None]) -> None:
    live()
    bench.put(State.IN_PROGRESS)
    assert bench.store.jobs.with_reason(bench.store.jobs.get("fox")).reason is None
    bench.forward(STALLED_AFTER + 1)
    assert "no worker" in (bench.store.jobs.with_reason(bench.store.jobs.get("fox")).reason or "")


@pytest.mark.parametrize(("state", "trips"), [(state, 2 if state is State.QUEUED else 1) for state in State], ids=str)
def test_showing_a_job_takes_one_round_trip_or_two_while_it_waits(
    state: State, trips: int, bench: Bench, live: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    live()
    bench.put(state)
    store, sent = bench.store, []
    store.jobs.show("fox")
    send = redis.connection.AbstractConnection.send_packed_command

    def note(connection: Any, command: Any, *rest: Any, **more: Any) -> None:
        sent.append(command)
        send(connection, command, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "send_packed_command", note)
        shown = store.jobs.show("fox")
    assert len(sent) == trips
    assert shown == store.jobs.with_reason(store.jobs.get("fox"))


def test_showing_a_job_loads_the_scripts_that_redis_lost(bench: Bench, live: Callable[..., None]) -> None:
    live()
    bench.put(State.IN_PROGRESS)
    bench.store.jobs.show("fox")
    bench.raw.script_flush()
    assert bench.store.jobs.show("fox").state is State.IN_PROGRESS


def test_showing_a_job_reports_what_is_wrong_with_it(bench: Bench) -> None:
    with pytest.raises(JobNotFound):
        bench.store.jobs.show("fox")
    bench.job()
    bench.raw.hset(bench.keys.member("job", "fox"), "c", "yesterday")
    with pytest.raises(RecordDamaged):
        bench.store.jobs.show("fox")


def test_a_job_view_asks_redis_once_more_at_most(bench: Bench, live: Callable[..., None]) -> None:
    live()
    bench.job()
    job = bench.store.jobs.get("fox")
    bench.store.jobs.with_reason(job)  # reads the changed limits, which hold for a second
    bench.raw.config_resetstat()
    bench.store.jobs.with_reason(job)
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in bench.raw.info("commandstats").items()}
    assert calls["evalsha"] == 2  # both in one round trip


STOPS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "a pause": (lambda b: b.store.batches.pause("x"), lambda b: b.store.batches.resume("x")),
    "a stall": (lambda b: None, lambda b: None),
    "a restart of everything": (lambda b: b.raw.delete("{b}:heartbeats"), lambda b: None),
}


@pytest.mark.parametrize("stop", STOPS)
def test_the_eta_after_a_standstill_is_not_from_its_rate(
    bench: Bench, make: MakeJob, live: Callable[..., None], stop: str
) -> None:
    live()
    bench.store.jobs.enqueue([make(f"x{number}") for number in range(400)], "x")
    # Given 10 jobs a second
    for second in range(10):
        end(bench, *(f"x{number}" for number in range(10 * second, 10 * second + 10)))
        live()
    assert bench.store.batches.get("x").eta == pytest.approx(30, rel=0.2)
    halt, go_on = STOPS[stop]
    halt(bench)
    if stop == "a pause":
        live(30)
    else:
        bench.forward(30)
    assert bench.store.batches.get("x").eta is None
    go_on(bench)
    live()
    # Nothing has ended since, and the standstill is no base
    assert bench.store.batches.get("x").eta is None
    for second in range(10, 15):
        end(bench, *(f"x{number}" for number in range(10 * second, 10 * second + 10)))
        live()
    assert bench.store.batches.get("x").eta == pytest.approx(25, rel=0.4)
    assert bench.audit() == []


def test_a_retry_begins_a_new_base(bench: Bench, make: MakeJob, live: Callable[..., None]) -> None:
    live()
    bench.store.jobs.enqueue([make(f"x{number}") for number in range(40)], "x")
    bench.store.attempts.admit(1000)
    for claim in bench.store.attempts.claim([f"x{number}" for number in range(40)]):
        bench.store.attempts.finish(
            claim.id, State.FAILED, Result(error={"code": "1201", "message": "no"}), "submit", fence=claim.fence
        )
    live(30)
    bench.store.batches.retry("x")
    live()
    assert bench.store.batches.get("x").eta is None


def test_a_stall_is_stuck(bench: Bench, live: Callable[..., None]) -> None:
    live()
    assert counted(bench.store, ())[Kind.SERVICE] == 0
    bench.forward(STALLED_AFTER + 1)
    assert counted(bench.store, ())[Kind.SERVICE] == 1
    (found,) = dead_ends(bench.store)
    assert (found.kind, found.id) == (Kind.SERVICE, "no_worker")
    assert found.since is not None
    # Where the installation is refused, that alone is reported
    there = bench.store.continuity.standing()
    assert bench.store.continuity.refuse(there, "the data are older", there.sighting)
    assert [each.kind for each in dead_ends(bench.store)] == [Kind.INSTALLATION]
