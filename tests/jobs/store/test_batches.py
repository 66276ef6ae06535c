"""Actions on whole batches take effect at once, act exactly, and are finished by any process."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.errors import BatchNotFound, NotAllowed
from jobs.result import Result
from jobs.states import State
from tests.support.bench import Bench, MakeJob


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the process that begins a sweep do one step of two jobs."""
    monkeypatch.setattr("jobs.store.batches.STEP", 2)
    monkeypatch.setattr("jobs.store.batches.AT_ONCE", -1)


@pytest.fixture
def enqueue(bench: Bench, make: MakeJob) -> Callable[..., Any]:
    """`enqueue("x", "a b c")`: enqueue these jobs in a batch."""
    return lambda batch, ids, **more: bench.store.jobs.enqueue([make(each, **more) for each in ids.split()], batch)


def counts(bench: Bench, batch: str) -> dict[str, int]:
    return {state.value: count for state, count in bench.store.batches.get(batch).counts.items() if count}


def fail(bench: Bench, job_id: str, code: str) -> None:
    (claim,) = bench.store.attempts.claim([job_id])
    result = Result(error={"code": code, "message": "no"})
    assert bench.store.attempts.finish(job_id, State.FAILED, result, "submit", fence=claim.fence).outcome == "finished"


# --- pause -----------------------------------------------------------------------------------------------------------


def test_others_pass_a_paused_batch_and_it_keeps_its_place(bench: Bench, enqueue: Callable[..., None]) -> None:
    enqueue("x", "x1 x2")
    enqueue("y", "y1")
    enqueue("x", "x3")
    enqueue("", "single")

    acted = bench.store.batches.pause("x")

    assert (acted.action, acted.affected, acted.pending) == ("pause", 3, 0)
    assert bench.store.batches.get("x").paused
    assert bench.store.statistics.totals().ready == {"": 2}
    assert bench.store.attempts.admit(1).ids == ("y1",)
    assert bench.audit() == []
    assert bench.store.batches.resume("x").affected == 3
    assert bench.store.attempts.admit(10).ids == ("x1", "single", "x2", "x3")
    assert not bench.store.batches.get("x").paused
    assert bench.audit() == []


def test_batches_and_single_jobs_take_turns_in_the_order_of_acceptance(
    bench: Bench, enqueue: Callable[..., None]
) -> None:
    for number in range(6):
        enqueue(["x", "y", ""][number % 3], f"j{number}")
    assert bench.store.attempts.admit(4).ids == ("j0", "j1", "j2", "j3")
    assert bench.store.attempts.admit(4).ids == ("j4", "j5")


def test_a_dispatched_job_of_a_paused_batch_is_not_claimed(bench: Bench, enqueue: Callable[..., None]) -> None:
    enqueue("x", "x1 x2", n=2)
    assert bench.store.attempts.admit(1).ids == ("x1",)
    bench.store.batches.pause("x")

    assert bench.store.attempts.claim(["x1"]) == []

    assert bench.slots() == (0, 0)
    assert bench.audit() == []
    assert bench.store.attempts.admit(10).ids == ()
    bench.store.batches.resume("x")
    assert bench.store.attempts.admit(10).ids == ("x1", "x2")


def test_jobs_queued_in_a_paused_batch_wait(bench: Bench, enqueue: Callable[..., None]) -> None:
    enqueue("x", "x1 x2")
    bench.store.attempts.admit(2)
    (claim,) = bench.store.attempts.claim(["x1"])
    bench.store.batches.pause("x")
    # A next attempt, a job whose message was lost, and a new job
    assert (
        bench.store.attempts.finish("x1", State.FAILED, Result(error={"code": "1302", "message": ""}), "poll").outcome
        == "again"
    )
    enqueue("x", "x3")
    bench.forward(40)
    bench.store.attempts.claim_due(10)
    assert claim.attempt == 1
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.audit() == []
    assert bench.store.batches.resume("x").admit_hint
    assert bench.store.attempts.admit(10).ids == ("x1", "x2", "x3")


def test_pausing_costs_the_same_however_many_wait(bench: Bench, make: MakeJob) -> None:
    def commands() -> int:
        return sum(each["calls"] for each in bench.raw.info("commandstats").values())

    costs = []
    bench.claimed("first")
    for size in (10, 5_000):
        batch = f"of {size}"
        for start in range(0, size, 500):
            bench.store.jobs.enqueue([make(f"{batch}.{start + each}") for each in range(min(size, 500))], batch)
        before = commands()
        bench.store.batches.pause(batch)
        paused = commands()
        tries = []
        for _ in range(3):  # once a second it also reads the limits in force
            begun = commands()
            bench.store.attempts.admit(10)
            tries.append(commands() - begun)
        admitted = commands()
        bench.store.batches.resume(batch)
        costs.append((paused - before, min(tries), commands() - admitted))
        bench.store.batches.cancel(batch)
        bench.store.batches.sweep(60)  # on a slow machine the cancel is not complete yet
        assert bench.store.batches.get(batch).done
    assert costs[0] == costs[1]
    assert sum(costs[0]) < 100


def test_a_repeated_pause_or_resume_changes_nothing(bench: Bench, enqueue: Callable[..., None]) -> None:
    enqueue("x", "x1")
    assert bench.store.batches.resume("x").affected == 0
    bench.store.batches.pause("x")
    before = bench.dump()
    assert bench.store.batches.pause("x").affected == 0
    assert bench.dump() == before


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_an_action_on_an_unknown_batch_is_refused(bench: Bench, verb: str) -> None:
    with pytest.raises(BatchNotFound):
        getattr(bench.store.batches, verb)("absent")
    assert not bench.raw.exists(bench.keys.singleton("sweeps"))


# --- cancel ----------------------------------------------------------------------------------------------------------


def test_a_cancel_ends_only_unfinished_jobs(bench: Bench, enqueue: Callable[..., None]) -> None:
    enqueue("x", "waits running done", owed="n")
    bench.store.attempts.admit(3)
    enqueue("y", "other")
    for job_id in ("running", "done"):
        (claim,) = bench.store.attempts.claim([job_id])
        bench.store.attempts.mark_in_progress(job_id, claim.fence, "t")
    bench.store.attempts.finish("done", State.COMPLETED, Result(), "callback")

    acted = bench.store.batches.cancel("x")

    assert (acted.action, acted.affected, acted.pending) == ("cancel", 2, 0)
    assert counts(bench, "x") == {"cancelled": 2, "completed": 1}
    assert bench.store.jobs.get("running").phase is State.IN_PROGRESS
    assert bench.slots() == (1, 0)
    # Their notifications are due now
    assert {due.job.id for due in bench.store.attempts.claim_due(10).dues} == {"waits", "running", "done"}
    assert bench.store.attempts.admit(10).ids == ("other",)
    assert bench.audit() == []


def test_a_cancel_takes_effect_at_once_and_another_process_completes_it(
    bench: Bench, enqueue: Callable[..., None], small_steps: None
) -> None:
    enqueue("x", "x1 x2 x3 x4 x5")
    bench.store.attempts.admit(4)

    # The process that cancels dies after two jobs
    acted = bench.store.batches.cancel("x")

    assert (acted.affected, acted.pending) == (2, 3)
    assert bench.audit() == []
    assert bench.store.attempts.claim(["x3", "x4"]) == []
    assert bench.store.attempts.admit(10).ids == ()
    # A repeat continues the cancel
    assert bench.store.batches.cancel("x").affected == 4
    bench.with_settings().batches.sweep(10)
    assert counts(bench, "x") == {"cancelled": 5}
    assert bench.audit() == []
    assert not bench.raw.exists(bench.keys.singleton("sweeps"))


def test_a_job_added_during_a_cancel_is_admitted_afterwards(
    bench: Bench, enqueue: Callable[..., None], small_steps: None
) -> None:
    enqueue("x", "x1 x2 x3")
    bench.store.batches.cancel("x")
    enqueue("x", "x4")
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.store.batches.sweep(10)
    assert bench.store.attempts.admit(10).ids == ("x4",)
    assert bench.audit() == []


def test_a_cancel_ends_a_pause_and_a_retry_under_way(
    bench: Bench, enqueue: Callable[..., None], small_steps: None
) -> None:
    enqueue("x", "x1 x2 x3")
    bench.store.attempts.admit(3)
    for job_id in ("x1", "x2", "x3"):
        fail(bench, job_id, "1301")
    bench.store.batches.retry("x")
    bench.store.batches.pause("x")
    bench.store.batches.cancel("x")
    bench.store.batches.sweep(10)
    assert not bench.store.batches.get("x").paused
    assert counts(bench, "x") == {"cancelled": 2, "failed": 1}
    assert bench.audit() == []


# --- retry -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(bench: Bench, enqueue: Callable[..., None]) -> Any:
    """A batch: two jobs failed with 1301, one with 1201, one completed, two cancelled, one of them at the provider."""
    enqueue("x", "a b c cancelled working done")
    bench.store.attempts.admit(10)
    for job_id, code in (("a", "1301"), ("b", "1201"), ("c", "1301")):
        fail(bench, job_id, code)
    for job_id in ("working", "done"):
        (claim,) = bench.store.attempts.claim([job_id])
        bench.store.attempts.mark_in_progress(job_id, claim.fence, "t")
    bench.store.attempts.finish("done", State.COMPLETED, Result(), "callback")
    bench.store.jobs.cancel("cancelled")
    bench.store.jobs.cancel("working")
    return bench


@pytest.mark.parametrize(
    ("options", "counted", "retried"),
    [
        pytest.param({}, 3, {"a", "b", "c"}, id="failed jobs by default"),
        pytest.param({"codes": ["1301"]}, 2, {"a", "c"}, id="by code"),
        pytest.param({"codes": ["1301", "1201", "none"]}, 3, {"a", "b", "c"}, id="by codes"),
        pytest.param({"codes": ["none"]}, 0, set(), id="a code that no job has"),
        pytest.param({"states": [State.CANCELLED]}, 2, {"cancelled"}, id="cancelled, but not at the provider"),
        pytest.param({"states": [State.CANCELLED, State.FAILED], "codes": ["1201"]}, 3, {"b", "cancelled"}, id="both"),
    ],
)
def test_a_retry_takes_the_given_states_and_codes(mixed: Any, options: Any, counted: int, retried: set[str]) -> None:
    before = mixed.dump()
    assert mixed.store.batches.retry("x", **options, dry_run=True).affected == counted
    assert mixed.dump() == before

    acted = mixed.store.batches.retry("x", **options)

    assert (acted.affected, acted.pending) == (len(retried), 0)
    assert set(mixed.store.attempts.admit(10).ids) == retried
    assert mixed.audit() == []


def test_errors_are_counted_by_code(mixed: Any) -> None:
    assert mixed.store.batches.get("x").errors == {"1301": 2, "1201": 1}
    mixed.store.jobs.retry("a")
    mixed.store.jobs.retry("b")
    assert mixed.store.batches.get("x").errors == {"1301": 1}
    mixed.forward(1000)
    assert mixed.with_settings(retention=100).jobs.purge()[0] == 3
    assert mixed.store.batches.get("x").errors == {}
    assert mixed.audit() == []


@pytest.mark.parametrize("code", ["x" * 65, "é" * 33, ""])
def test_an_invalid_error_code_counts_as_none(bench: Bench, enqueue: Callable[..., None], code: str) -> None:
    enqueue("x", "x1")
    bench.store.attempts.admit(1)
    fail(bench, "x1", code)
    assert bench.store.batches.get("x").errors == {"": 1}
    assert bench.audit() == []


def test_a_sweep_retries_a_job_only_once(bench: Bench, enqueue: Callable[..., None], small_steps: None) -> None:
    enqueue("x", "x1 x2 x3 x4")
    bench.store.attempts.admit(4)
    for job_id in ("x1", "x2", "x3", "x4"):
        fail(bench, job_id, "1301")

    first = bench.store.batches.retry("x")

    assert (first.affected, first.pending) == (2, 2)
    assert bench.store.attempts.admit(1).ids == ("x1",)
    (claim,) = bench.store.attempts.claim(["x1"])
    bench.store.attempts.finish(
        "x1~2", State.FAILED, Result(error={"code": "1301", "message": ""}), "poll", fence=claim.fence
    )
    with pytest.raises(NotAllowed, match="in a moment"):
        bench.store.batches.retry("x")
    bench.store.batches.sweep(10)
    assert counts(bench, "x") == {"failed": 1, "queued": 3}
    assert bench.audit() == []


def test_a_retried_paused_batch_stays_paused(mixed: Any) -> None:
    mixed.store.batches.pause("x")
    assert mixed.store.batches.retry("x").affected == 3
    assert mixed.store.attempts.admit(10).ids == ()
    assert mixed.audit() == []


def test_cancelled_jobs_are_retried_only_on_request(bench: Bench, enqueue: Callable[..., None]) -> None:
    enqueue("x", "x1 x2")
    bench.store.batches.pause("x")
    bench.store.batches.cancel("x")
    assert bench.store.batches.retry("x").affected == 0
    assert bench.store.batches.retry("x", [State.CANCELLED]).affected == 2
    assert bench.store.attempts.admit(10).ids == ("x1", "x2")
    assert bench.audit() == []


def test_a_purged_batch_is_no_longer_swept(bench: Bench, enqueue: Callable[..., None], small_steps: None) -> None:
    enqueue("x", "x1 x2 x3")
    bench.store.batches.cancel("x")
    bench.store.jobs.cancel("x3")
    bench.forward(1000)
    assert bench.with_settings(retention=100).jobs.purge() == (3, 1)
    bench.store.batches.sweep(10)
    assert bench.audit() == []


# --- atomic uploads --------------------------------------------------------------------------------------------------


def test_staged_jobs_are_invisible_until_they_are_committed(bench: Bench, make: MakeJob) -> None:
    before = bench.dump()
    staged = [make(f"s{number}", n=2, owed="n", labels={"shop": "berlin"}) for number in range(3)]
    assert bench.store.uploads.stage("t", staged[:2]) == ("created", "created")
    assert bench.store.uploads.stage("t", staged[1:]) == ("known", "created")
    assert bench.store.jobs.page().jobs == ()
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.audit() == []

    acted = bench.store.uploads.commit("t", "x", 3)

    assert (acted.affected, acted.clashes, acted.admit_hint) == (3, 0, True)
    assert [job.id for job in bench.store.batches.jobs("x")] == ["s0", "s1", "s2"]
    job = bench.store.jobs.get("s2", text=True)
    assert (job.n, job.labels, job.text, job.batch) == (2, {"shop": "berlin"}, staged[2].text, "x")
    assert bench.fields("s2")["o"] == "n"
    assert bench.store.attempts.admit(10).ids == ("s0", "s1", "s2")
    assert bench.audit() == []
    left = {key for key in bench.dump() if key.startswith(("u:", "v:"))}
    assert left == {key for key in before if key.startswith(("u:", "v:"))} == set()


def test_staged_jobs_expire_without_a_commit(bench: Bench, make: MakeJob) -> None:
    bench.store.uploads.stage("t", [make("s0")])
    assert {bench.raw.ttl(bench.keys.member(name, "t")) for name in ("staged", "lines")} <= {3599, 3600}
    bench.store.uploads.discard("t")
    with pytest.raises(NotAllowed, match="send it again"):
        bench.store.uploads.commit("t", "x", 1)
    assert "b:x" not in bench.dump()


def test_staged_jobs_are_compared_with_existing_and_staged_ones(bench: Bench, make: MakeJob) -> None:
    bench.job("fox")
    assert bench.store.uploads.stage("t", [make("fox"), make("fox", "other"), make("new"), make("new", "other")]) == (
        "known",
        "conflict",
        "created",
        "conflict",
    )


def test_another_process_completes_a_commit(bench: Bench, make: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that dies after it decided the commit
    bench.store.uploads.stage("t", [make(f"s{number}") for number in range(5)])
    monkeypatch.setattr("jobs.store.batches.STEP", 2)
    assert bench.store.context.scripts.call("commit", "t", "x", "{}", 5, "") == "begun"
    assert bench.raw.ttl(bench.keys.member("staged", "t")) == -1
    # Then the batch exists, and is not done before all its jobs are created
    assert not bench.store.batches.get("x").done
    for verb in (bench.store.batches.cancel, bench.store.batches.retry):
        with pytest.raises(NotAllowed, match="taken in"):
            verb("x")
    assert bench.audit() == []
    # And reconcile creates them
    assert bench.with_settings().batches.sweep(10)
    assert bench.store.batches.get("x").accepted == 5
    assert bench.audit() == []


def test_an_id_that_was_used_meanwhile_is_known_or_a_clash(bench: Bench, make: MakeJob) -> None:
    bench.store.uploads.stage("t", [make("a"), make("b"), make("c")])
    bench.store.jobs.enqueue([make("a"), make("b", '{"prompt":"another"}')])
    acted = bench.store.uploads.commit("t", "x", 3)
    assert (acted.affected, acted.clashes) == (1, 1)
    assert [job.id for job in bench.store.batches.jobs("x")] == ["c"]
    assert bench.audit() == []


def test_a_commit_of_nothing_is_an_empty_batch(bench: Bench) -> None:
    assert bench.store.uploads.commit("t", "x", 0).affected == 0
    assert bench.store.batches.get("x").done
