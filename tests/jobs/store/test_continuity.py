"""Where the installation's record is missing or jobs are lost, no work is accepted or handed out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs.audit.audit import audit
from jobs.errors import JobNotFound, WorkRefused
from jobs.result import Result
from jobs.states import State
from jobs.store.installation import Fate, Judgement, Sighting, Trace, judge
from jobs.store.stuck import Kind, counted, dead_ends
from jobs.store.witness import Witness, witness_url
from tests.support.bench import Bench, new

#: Every call that accepts work or hands it out, on a bench with a queued job "fox" and a failed one "owl".
WORK: dict[str, Callable[[Any], object]] = {
    "enqueue": lambda bench: bench.store.jobs.enqueue([new("bat")]),
    "a batch": lambda bench: bench.store.jobs.enqueue([], "flock"),
    "a repeat": lambda bench: bench.store.jobs.enqueue([new("fox")]),
    "stage": lambda bench: bench.store.uploads.stage("token", [new("bat")]),
    "commit": lambda bench: bench.store.uploads.commit("token", "flock", 0),
    "retry": lambda bench: bench.store.jobs.retry("owl"),
    "revise": lambda bench: bench.store.revisions.revise(new("owl", "{}")),
    "regenerate": lambda bench: bench.store.regenerations.regenerate("elk", new("elk.r2")),
    "retry a batch": lambda bench: bench.store.batches.retry("flock"),
    "admit": lambda bench: bench.store.attempts.admit(10),
    "claim": lambda bench: bench.store.attempts.claim(["fox"]),
    "due": lambda bench: bench.store.attempts.claim_due(10),
    # An unknown job may be a lost one
    "finish, unknown": lambda bench: bench.store.attempts.finish("bat", State.COMPLETED, Result(), "callback"),
    "finish, a later attempt": lambda bench: bench.store.attempts.finish(
        "fox~2", State.COMPLETED, Result(), "callback"
    ),
    "finish, not sent according to the record": lambda bench: bench.store.attempts.finish(
        "fox", State.COMPLETED, Result(), "callback"
    ),
    "callback, unknown": lambda bench: bench.store.attempts.record_callback("bat", needs_lookup=True),
    "callback, not sent according to the record": lambda bench: bench.store.attempts.record_callback(
        "fox", needs_lookup=True
    ),
    "park, unknown": lambda bench: bench.store.celery.park("bat", "celery-id", "{}", ""),
    "cancel, unknown": lambda bench: bench.store.jobs.cancel("bat"),
    "pause, unknown": lambda bench: bench.store.jobs.pause("bat"),
}


def lose(bench: Bench, reason: str = "jobs are gone") -> None:
    assert bench.store.continuity.refuse(bench.store.continuity.standing(), reason, None)


@pytest.fixture
def filled(bench: Bench) -> Any:
    """A bench with jobs."""
    bench.put(State.FAILED, "owl")
    bench.job()
    return bench


@pytest.mark.parametrize("work", WORK)
def test_lost_jobs_refuse_all_work(work: str, filled: Any) -> None:
    lose(filled)
    before = filled.dump()
    with pytest.raises(WorkRefused, match=r"jobs are gone.*boomerang-server recover"):
        WORK[work](filled)
    assert filled.dump() == before


@pytest.mark.parametrize("work", WORK)
def test_an_empty_redis_refuses_all_work(work: str, bench: Bench) -> None:
    clock = bench.now
    bench.raw.flushdb()
    bench.raw.set(bench.keys.prefix + "clock", clock)
    with pytest.raises(WorkRefused):
        WORK[work](bench)
    assert bench.dump() == {}


@pytest.mark.parametrize("damage", ["gone", "another type", "without its id"])
def test_a_damaged_record_of_the_installation_refuses_work(damage: str, filled: Any) -> None:
    key = filled.keys.singleton("epoch")
    if damage == "without its id":
        filled.raw.hset(key, "installation", "")
    else:
        filled.raw.delete(key)
        if damage == "another type":
            filled.raw.set(key, "x")
    for work in ("enqueue", "claim"):
        with pytest.raises(WorkRefused):
            WORK[work](filled)
    assert filled.store.continuity.refusal()
    # An operator accepts it as it is
    filled.store.continuity.recover()
    assert filled.store.continuity.refusal() == ""
    WORK["enqueue"](filled)
    assert audit(filled.store) == []


def test_unreadable_numbers_in_the_record_count_as_zero(filled: Any) -> None:
    filled.raw.hset(
        filled.keys.singleton("epoch"), mapping={"number": "x", "accepted": "y", "before": "z", "trusted": ""}
    )
    assert filled.store.continuity.standing().epoch == 0
    filled.job("ant")
    assert filled.store.continuity.standing().accepted == 1
    filled.store.attempts.admit(1)
    assert [claim.id for claim in filled.store.attempts.claim(["fox"])] == ["fox"]


def test_while_work_is_refused_known_jobs_are_read_cancelled_and_finished(filled: Any) -> None:
    filled.put(State.IN_PROGRESS, "ant")
    lose(filled)
    assert filled.store.jobs.get("fox").state is State.QUEUED
    assert filled.store.attempts.finish("ant", State.COMPLETED, Result(), "callback").outcome == "finished"
    assert filled.store.jobs.cancel("fox").outcome == "cancelled"
    with pytest.raises(JobNotFound):
        filled.store.jobs.get("bat")


def test_after_a_recovery_work_continues_with_look_ups(filled: Any) -> None:
    lose(filled)
    (dead_end,) = [each for each in dead_ends(filled.store) if each.kind is Kind.INSTALLATION]
    assert "jobs are gone" in dead_end.why
    assert counted(filled.store, ())[Kind.INSTALLATION] == 1
    assert filled.store.continuity.recover().number == 1
    assert filled.store.continuity.standing().lost == ""
    filled.store.attempts.admit(1)
    assert filled.store.attempts.claim(["fox"]) == []  # it must be looked up first
    assert filled.store.jobs.get("fox").state is State.IN_DOUBT
    assert counted(filled.store, ())[Kind.INSTALLATION] == 0
    assert audit(filled.store) == []


def test_the_first_reason_is_kept(filled: Any) -> None:
    lose(filled, "the first")
    lose(filled, "the second")
    assert filled.store.continuity.standing().lost == "the first"


def test_a_decision_on_an_observation_from_before_a_recovery_changes_nothing(filled: Any) -> None:
    observed = filled.store.continuity.standing()
    filled.store.continuity.recover()
    assert not filled.store.continuity.refuse(observed, "jobs are gone", None)
    assert not filled.store.continuity.tolerate(observed, observed.sighting)
    assert not filled.store.continuity.establish(observed)
    assert filled.store.continuity.refusal() == ""


def test_a_reason_with_any_characters_is_in_the_error(filled: Any) -> None:
    lose(filled, "a [strange] one, with: 'quotes' and ünïcode")
    with pytest.raises(WorkRefused, match=r"a \[strange\) one, with: 'quotes' and ünïcode\. New"):
        WORK["enqueue"](filled)


def test_each_accepted_job_is_counted_once(bench: Bench) -> None:
    bench.store.jobs.enqueue([new("a"), new("b")])
    bench.store.jobs.enqueue([new("b"), new("c")])
    bench.store.uploads.stage("token", [new("d"), new("c")])
    bench.store.uploads.commit("token", "flock", 1)
    assert bench.store.continuity.standing().accepted == 4
    bench.put_on(State.FAILED, "a")
    bench.store.jobs.retry("a")
    assert bench.store.continuity.standing().accepted == 4


def test_a_recovery_begins_an_epoch_above_all_that_were_seen(bench: Bench) -> None:
    known = Sighting(installation="a-test", epoch=7, accepted=3, at=bench.now + 5)
    there = bench.store.continuity.standing()
    assert bench.store.continuity.recover(known=[known]).number == 8
    assert bench.store.continuity.standing().trusted == known.at + 1
    assert bench.store.continuity.standing().installation == there.installation


@pytest.mark.parametrize("known", [0, 1, 2])
def test_an_empty_redis_gets_the_id_of_the_only_known_installation(known: int, bench: Bench) -> None:
    bench.raw.delete(bench.keys.singleton("epoch"))
    sightings = [Sighting(installation=name * 32) for name in "ab"[:known]]
    bench.store.continuity.recover(known=sightings)
    given = bench.store.continuity.standing().installation
    assert len(given) == 32
    assert (given in {each.installation for each in sightings}) == (known == 1)


# --- the fate of the last change that was seen ------------------------------------------------------------------------


def fate(bench: Bench, seen: Sighting) -> tuple[Fate, int]:
    (trace,) = bench.store.continuity.standing([seen]).traces
    return trace.fate, trace.accepted_since


def test_a_change_is_known_until_redis_loses_it(bench: Bench) -> None:
    bench.job("a")
    past = bench.raw.dump("{b}:changes"), bench.raw.xrange("{b}:changes")
    bench.job("b")
    seen = bench.store.continuity.standing().sighting
    bench.job("c")
    assert fate(bench, seen) == (Fate.KNOWN, 0)
    bench.raw.delete("{b}:changes")
    assert fate(bench, seen) == (Fate.GONE, 0)
    bench.raw.xadd("{b}:changes", {"id": "a", "from": ""}, past[1][0][0])
    assert fate(bench, seen) == (Fate.UNKNOWN, 0)
    for name in "de":
        bench.job(name)
    bench.put_on(State.IN_PROGRESS, "d")
    assert fate(bench, seen) == (Fate.UNKNOWN, 2)  # only accepted jobs count


def test_states_of_celery_tasks_are_no_accepted_jobs(bench: Bench) -> None:
    bench.job("a")
    past = bench.raw.xrange("{b}:changes")[0][0]
    bench.job("b")
    seen = bench.store.continuity.standing().sighting
    bench.raw.xdel("{b}:changes", seen.last)
    seen = replace(seen, last=past.partition("-")[0] + "-999999")
    job = bench.store.jobs.get("a")
    bench.store.events.add_task("task-1", State.QUEUED, job, new=True)
    bench.store.events.add_task("task-2", State.FAILED, new=True)
    bench.job("c")
    there = bench.store.continuity.standing([seen])
    assert there.traces == (Trace(Fate.UNKNOWN, 1, int(past.partition("-")[0]) * 1000),)
    assert (judge(there, [seen]).judgement, judge(there, [seen]).lost_jobs) == (Judgement.OLDER, 0)


@pytest.mark.parametrize("rows", [1, 1_500])
@pytest.mark.slow
def test_states_of_celery_tasks_alone_are_no_jobs(rows: int, bench: Bench) -> None:
    bench.raw.delete("{b}:epoch")
    for number in range(rows):
        bench.store.events.add_task(f"task-{number}", State.FAILED, new=True)
    assert not bench.store.continuity.standing().has_jobs
    # The change of a job that has ended, after them
    bench.raw.xadd("{b}:changes", {"id": "a", "from": ""})
    assert bench.store.continuity.standing().has_jobs


def test_a_change_that_the_stream_dropped_is_trimmed(bench: Bench) -> None:
    bench.job("a")
    seen = bench.store.continuity.standing().sighting
    bench.job("b")
    bench.raw.xtrim("{b}:changes", maxlen=1, approximate=False)
    assert fate(bench, seen) == (Fate.TRIMMED, 0)


def test_before_the_first_change_nothing_is_lost(bench: Bench) -> None:
    seen = bench.store.continuity.standing().sighting
    assert (seen.last, seen.accepted) == ("", 0)
    bench.job()
    assert fate(bench, seen) == (Fate.KNOWN, 0)


def test_all_jobs_accepted_after_a_change_are_counted(bench: Bench) -> None:
    bench.raw.xadd("{b}:changes", {"id": "old", "from": ""}, "1-0")
    seen = replace(bench.store.continuity.standing().sighting, last="1-1")
    for start in range(0, 2_500, 500):
        bench.store.jobs.enqueue([new(f"n{start + each}") for each in range(500)])
    assert fate(bench, seen) == (Fate.UNKNOWN, 2_500)


def test_before_the_first_round_the_latest_change_tells_how_much_is_lost(bench: Bench) -> None:
    bench.raw.xadd("{b}:changes", {"id": "old", "from": ""}, "7000-0")
    bench.raw.xadd("{b}:changes", {"id": "new", "from": ""}, "9000-0")  # accepted after the loss
    seen = replace(bench.store.continuity.standing().sighting, last="8000-0", at=8_500_000)
    there = bench.store.continuity.standing([seen])
    assert there.round_at == 0
    assert judge(there, [seen]).seconds == 1.5


# --- the witness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "broker", "result", "where"),
    [
        ("redis://a/0", "redis://b/0", "redis://b/0", "redis://b/0"),
        ("redis://a/0", "redis://a/1", "redis://a/0", "redis://a/1"),
        ("redis://a/0", "redis://a/0", "redis://a/0", None),
        ("redis://a/0", "amqp://a//", "redis://b/0", "redis://b/0"),
        ("redis://a/0", "amqp://a//", "rpc://", None),
        ("unix:///run/a?db=1", "redis+socket:///run/a?virtual_host=1", "rpc://", None),
        ("unix:///run/a", "redis+socket:///run/b", "rpc://", "unix:///run/b"),
        ("sentinel://a/0?master=x", "sentinel://a/0?master=y", "rpc://", "sentinel://a/0?master=y"),
    ],
)
def test_the_witness_is_in_another_redis_than_the_jobs(
    state: str, broker: str, result: str, where: str | None, bench: Bench
) -> None:
    assert (
        witness_url(replace(bench.store.context.settings, redis_url=state, broker_url=broker, result_url=result))
        == where
    )


def test_the_witness_keeps_a_sighting_for_each_installation(bench: Bench, redis_url: str) -> None:
    witness = Witness(bench.raw)
    assert witness.read() == ()
    one, other = (Sighting(installation=name, accepted=3) for name in "ab")
    witness.write(one)
    witness.write(other)
    bench.raw.hset(bench.keys.singleton("witness"), "c", "damaged")
    assert set(witness.read()) == {one, other}
    bench.raw.set(bench.keys.singleton("witness"), "of another type")
    assert witness.read() == ()
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists(bench.keys.singleton("witness"))
