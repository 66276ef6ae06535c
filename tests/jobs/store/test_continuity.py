"""The record of the installation: without it, and where jobs are lost, no work is taken in or handed out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobs.audit.audit import audit
from jobs.errors import JobNotFound, WorkRefused
from jobs.job import Result
from jobs.states import State
from jobs.store.installation import Fate, Sighting
from jobs.store.stuck import Kind, counted, dead_ends
from jobs.store.witness import Witness, witness_url
from tests.support.bench import Bench, new

#: Everything that takes work in or hands work out, on a bench with a queued job "fox" and a failed one "owl".
WORK: dict[str, Callable[[Any], object]] = {
    "enqueue": lambda bench: bench.store.jobs.enqueue([new("bat")]),
    "a batch": lambda bench: bench.store.jobs.enqueue([], "flock"),
    "the same again": lambda bench: bench.store.jobs.enqueue([new("fox")]),
    "stage": lambda bench: bench.store.uploads.stage("token", [new("bat")]),
    "commit": lambda bench: bench.store.uploads.commit("token", "flock", 0),
    "retry": lambda bench: bench.store.jobs.retry("owl"),
    "retry a batch": lambda bench: bench.store.batches.retry("flock"),
    "admit": lambda bench: bench.store.attempts.admit(10),
    "claim": lambda bench: bench.store.attempts.claim(["fox"]),
    "due": lambda bench: bench.store.attempts.claim_due(10),
    # What is unknown may be among what is lost
    "finish, unknown": lambda bench: bench.store.attempts.finish("bat", State.COMPLETED, Result(), "callback"),
    "finish, a later attempt": lambda bench: bench.store.attempts.finish(
        "fox~2", State.COMPLETED, Result(), "callback"
    ),
    "finish, not sent by what is known": lambda bench: bench.store.attempts.finish(
        "fox", State.COMPLETED, Result(), "callback"
    ),
    "nudge, unknown": lambda bench: bench.store.attempts.record_callback("bat", look=True),
    "nudge, not sent by what is known": lambda bench: bench.store.attempts.record_callback("fox", look=True),
    "park, unknown": lambda bench: bench.store.celery.park("bat", "celery-id", "{}", ""),
    "cancel, unknown": lambda bench: bench.store.jobs.cancel("bat"),
    "pause, unknown": lambda bench: bench.store.jobs.pause("bat"),
}


def lose(bench: Bench, reason: str = "jobs are gone") -> None:
    assert bench.store.continuity.refuse(bench.store.continuity.standing(), reason, None)


@pytest.fixture
def kept(bench: Bench) -> Any:
    """A bench with jobs."""
    bench.put(State.FAILED, "owl")
    bench.job()
    return bench


@pytest.mark.parametrize("work", WORK)
def test_where_jobs_are_lost_there_is_no_work(work: str, kept: Any) -> None:
    lose(kept)
    before = kept.dump()
    with pytest.raises(WorkRefused, match=r"jobs are gone.*boomerang-server recover"):
        WORK[work](kept)
    assert kept.dump() == before


@pytest.mark.parametrize("work", WORK)
def test_an_empty_redis_takes_nothing_in(work: str, bench: Bench) -> None:
    clock = bench.now
    bench.raw.flushdb()
    bench.raw.set(bench.keys.prefix + "clock", clock)
    with pytest.raises(WorkRefused):
        WORK[work](bench)
    assert bench.dump() == {}


@pytest.mark.parametrize("damage", ["gone", "another type", "without its id"])
def test_a_damaged_record_takes_nothing_in(damage: str, kept: Any) -> None:
    key = kept.keys.singleton("epoch")
    if damage == "without its id":
        kept.raw.hset(key, "installation", "")
    else:
        kept.raw.delete(key)
        if damage == "another type":
            kept.raw.set(key, "x")
    for work in ("enqueue", "claim"):
        with pytest.raises(WorkRefused):
            WORK[work](kept)
    assert kept.store.continuity.refusal()
    # and it is accepted as it is once an operator says so
    kept.store.continuity.recover()
    assert kept.store.continuity.refusal() == ""
    WORK["enqueue"](kept)
    assert audit(kept.store) == []


def test_numbers_of_the_record_that_cannot_be_read(kept: Any) -> None:
    kept.raw.hset(kept.keys.singleton("epoch"), mapping={"number": "x", "accepted": "y", "before": "z", "trusted": ""})
    assert kept.store.continuity.standing().epoch == 0
    kept.job("ant")
    assert kept.store.continuity.standing().accepted == 1
    kept.store.attempts.admit(1)
    assert [claim.id for claim in kept.store.attempts.claim(["fox"])] == ["fox"]


def test_what_is_known_can_be_read_cancelled_and_settled_meanwhile(kept: Any) -> None:
    kept.put(State.IN_PROGRESS, "ant")
    lose(kept)
    assert kept.store.jobs.get("fox").state is State.QUEUED
    assert kept.store.attempts.finish("ant", State.COMPLETED, Result(), "callback").outcome == "finished"
    assert kept.store.jobs.cancel("fox").outcome == "cancelled"
    with pytest.raises(JobNotFound):
        kept.store.jobs.get("bat")


def test_an_operator_accepts_what_is_there(kept: Any) -> None:
    lose(kept)
    (dead_end,) = [each for each in dead_ends(kept.store) if each.kind is Kind.INSTALLATION]
    assert "jobs are gone" in dead_end.why
    assert counted(kept.store, ())[Kind.INSTALLATION] == 1
    assert kept.store.continuity.recover().number == 1
    assert kept.store.continuity.standing().lost == ""
    kept.store.attempts.admit(1)
    assert kept.store.attempts.claim(["fox"]) == []  # looked up first
    assert kept.store.jobs.get("fox").state is State.IN_DOUBT
    assert counted(kept.store, ())[Kind.INSTALLATION] == 0
    assert audit(kept.store) == []


def test_the_first_reason_stands(kept: Any) -> None:
    lose(kept, "the first")
    lose(kept, "the second")
    assert kept.store.continuity.standing().lost == "the first"


def test_whoever_looked_before_an_operator_spoke_changes_nothing(kept: Any) -> None:
    looked = kept.store.continuity.standing()
    kept.store.continuity.recover()
    assert not kept.store.continuity.refuse(looked, "jobs are gone", None)
    assert not kept.store.continuity.tolerate(looked, looked.sighting)
    assert not kept.store.continuity.establish(looked)
    assert kept.store.continuity.refusal() == ""


def test_a_reason_of_any_text_is_shown(kept: Any) -> None:
    lose(kept, "a [strange] one, with: 'quotes' and ünïcode")
    with pytest.raises(WorkRefused, match=r"a \[strange\) one, with: 'quotes' and ünïcode\. New"):
        WORK["enqueue"](kept)


def test_accepted_jobs_are_counted_once_each(bench: Bench) -> None:
    bench.store.jobs.enqueue([new("a"), new("b")])
    bench.store.jobs.enqueue([new("b"), new("c")])
    bench.store.uploads.stage("token", [new("d"), new("c")])
    bench.store.uploads.commit("token", "flock", 1)
    assert bench.store.continuity.standing().accepted == 4
    bench.put_on(State.FAILED, "a")
    bench.store.jobs.retry("a")
    assert bench.store.continuity.standing().accepted == 4


def test_an_epoch_never_comes_again(bench: Bench) -> None:
    known = Sighting(installation="a-test", epoch=7, accepted=3, at=bench.now + 5)
    there = bench.store.continuity.standing()
    assert bench.store.continuity.recover(known=[known]).number == 8
    assert bench.store.continuity.standing().trusted == known.at + 1
    assert bench.store.continuity.standing().installation == there.installation


@pytest.mark.parametrize("known", [0, 1, 2])
def test_an_empty_redis_gets_the_id_of_the_only_one_that_is_known(known: int, bench: Bench) -> None:
    bench.raw.delete(bench.keys.singleton("epoch"))
    sightings = [Sighting(installation=name * 32) for name in "ab"[:known]]
    bench.store.continuity.recover(known=sightings)
    given = bench.store.continuity.standing().installation
    assert len(given) == 32
    assert (given in {each.installation for each in sightings}) == (known == 1)


# --- the fate of what was seen ----------------------------------------------------------------------------------------


def fate(bench: Bench, seen: Sighting) -> tuple[Fate, int]:
    ((found, accepted),) = bench.store.continuity.standing([seen]).fates
    return found, accepted


def test_a_change_is_known_until_redis_goes_back_before_it(bench: Bench) -> None:
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
    assert fate(bench, seen) == (Fate.UNKNOWN, 2)  # only what was accepted counts


def test_a_change_that_the_bounded_stream_has_dropped(bench: Bench) -> None:
    bench.job("a")
    seen = bench.store.continuity.standing().sighting
    bench.job("b")
    bench.raw.xtrim("{b}:changes", maxlen=1, approximate=False)
    assert fate(bench, seen) == (Fate.TRIMMED, 0)


def test_before_the_first_change_everything_is_known(bench: Bench) -> None:
    seen = bench.store.continuity.standing().sighting
    assert (seen.last, seen.accepted) == ("", 0)
    bench.job()
    assert fate(bench, seen) == (Fate.KNOWN, 0)


def test_many_jobs_accepted_after_it_are_all_counted(bench: Bench) -> None:
    bench.raw.xadd("{b}:changes", {"id": "old", "from": ""}, "1-0")
    seen = replace(bench.store.continuity.standing().sighting, last="1-1")
    for start in range(0, 2_500, 500):
        bench.store.jobs.enqueue([new(f"n{start + each}") for each in range(500)])
    assert fate(bench, seen) == (Fate.UNKNOWN, 2_500)


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
def test_where_the_witness_is(state: str, broker: str, result: str, where: str | None, bench: Bench) -> None:
    assert (
        witness_url(replace(bench.store.context.settings, redis_url=state, broker_url=broker, result_url=result))
        == where
    )


def test_what_the_witness_keeps(bench: Bench, redis_url: str) -> None:
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
