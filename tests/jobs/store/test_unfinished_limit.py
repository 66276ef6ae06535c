"""New jobs are accepted up to the limit of unfinished jobs, exactly. Known jobs are never refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from jobs.audit.repair import repair
from jobs.connections.client import connect
from jobs.errors import BatchNotFound, ServiceFull, StoreUnavailable
from jobs.fields import Field
from jobs.key_limits import KeyLimits
from jobs.new_job import BatchOptions, Outcome
from jobs.room import Room, parts
from jobs.settings import Settings
from jobs.states import State
from jobs.store.lua_source import RECORD_SIZE
from jobs.store.memory import Memory
from jobs.store.statistics import Held
from jobs.store.store import Store
from tests.support.bench import Bench, MakeJob

CREATED, KNOWN, CONFLICT, FULL = Outcome.CREATED, Outcome.KNOWN, Outcome.CONFLICT, Outcome.FULL


def test_new_jobs_are_accepted_in_order_up_to_the_limit(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("old")])
    jobs = [make("a"), make("old"), make("old", text="{}"), make("b"), make("c"), make("a"), make("c")]
    assert bench.store.jobs.enqueue(jobs, "x", room=Room(most=3)).outcomes == (
        CREATED,
        KNOWN,
        CONFLICT,
        CREATED,
        FULL,
        KNOWN,
        FULL,
    )
    assert bench.store.batches.get("x").accepted == 2
    # The repeat continues where there is space
    assert bench.store.jobs.enqueue(jobs, "x", room=Room(most=4)).outcomes == (
        KNOWN,
        KNOWN,
        CONFLICT,
        KNOWN,
        CREATED,
        KNOWN,
        KNOWN,
    )
    assert [job.id for job in bench.store.batches.jobs("x")] == ["a", "b", "c"]
    assert bench.audit() == []


@pytest.mark.parametrize("state", State)
def test_unfinished_jobs_count_in_every_state_and_ended_ones_do_not(state: State, bench: Bench, make: MakeJob) -> None:
    bench.put(state)
    (outcome,) = bench.store.jobs.enqueue([make("new")], room=Room(most=1)).outcomes
    assert outcome is (CREATED if state.final else FULL)


def test_a_limit_of_zero_refuses_new_jobs_only(bench: Bench, make: MakeJob) -> None:
    bench.job("old")
    assert bench.store.jobs.enqueue([make("old"), make("new")], room=Room(most=0)).outcomes == (KNOWN, FULL)
    assert bench.store.jobs.enqueue([make("new")]).outcomes == (CREATED,)


def test_the_limit_holds_for_staged_jobs(bench: Bench, make: MakeJob) -> None:
    bench.job("old")
    first, second = [make("a"), make("old")], [make("b"), make("c")]
    assert bench.store.uploads.stage("t", first, room=Room(most=3)) == (CREATED, KNOWN)
    assert bench.store.uploads.stage("t", second, room=Room(most=3)) == (CREATED, FULL)
    # Another producer uses the last place first
    bench.job("other")
    with pytest.raises(ServiceFull):
        bench.store.uploads.commit("t", "x", 2, room=Room(most=3))
    with pytest.raises(BatchNotFound):
        bench.store.batches.get("x")
    assert bench.store.uploads.commit("t", "x", 2, room=Room(most=4)).affected == 2
    assert bench.audit() == []


def test_committed_jobs_count_before_they_are_created(bench: Bench, make: MakeJob) -> None:
    bench.store.uploads.stage("t", [make(f"j{number}") for number in range(5)])
    bench.store.context.scripts.call("commit", "t", "x", "{}", 5, "")
    assert bench.store.jobs.enqueue([make("new")], room=Room(most=5)).outcomes == (FULL,)
    assert bench.store.jobs.enqueue([make("new")], room=Room(most=6)).outcomes == (CREATED,)
    bench.store.batches.sweep()
    assert bench.store.batches.get("x").accepted == 5


# --- by key -----------------------------------------------------------------------------------------------------------


def test_a_part_of_the_room_is_kept_for_each_key(bench: Bench, make: MakeJob) -> None:
    """A batch that is paused and never paid for fills what is not kept for others, and no more."""
    kept = parts(100, 0.5, ("a", "b", "c"), {"c": KeyLimits(weight=3)})
    assert kept == {"a": 10, "b": 10, "c": 30}

    def add(owner: str, count: int) -> int:
        jobs = [make(f"{owner}{number}") for number in range(count)]
        room = Room(owner=owner, most=100, kept=kept)
        return bench.store.jobs.enqueue(jobs, f"of-{owner}", BatchOptions(owner=owner), room=room).outcomes.count(
            CREATED
        )

    assert add("a", 200) == 60
    bench.store.batches.pause("of-a")
    assert (add("b", 200), add("c", 200)) == (10, 30)
    assert (add("a", 200), add("b", 200), add("c", 200)) == (0, 0, 0)
    # What ends makes room again, for its owner if the part of another is not used
    bench.store.batches.cancel("of-c")
    assert add("a", 300) == 0
    bench.store.batches.cancel("of-a")
    assert bench.store.statistics.held().unfinished == {"b": 10}
    assert bench.audit() == []


@pytest.mark.parametrize("staged", [False, True])
def test_a_key_has_a_limit_of_its_own(bench: Bench, make: MakeJob, staged: bool) -> None:
    room = Room(owner="shop", own=3)
    if staged:
        bench.store.uploads.stage("t", [make("x"), make("y")], caller="shop")
        options = BatchOptions(owner="shop").to_script_json()
        bench.store.context.scripts.call("commit", "t", "b", options, 2, "")
    else:
        bench.store.jobs.enqueue([make("x", owner="shop"), make("y", owner="shop")])
    jobs = [make("a", owner="shop"), make("b", owner="shop")]
    assert bench.store.jobs.enqueue(jobs, room=room).outcomes == (CREATED, FULL)
    assert bench.store.jobs.enqueue([make("other", owner="press")], room=Room(owner="press", own=3)).outcomes == (
        CREATED,
    )


def test_what_a_key_stores_is_counted_until_it_is_deleted(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a", owner="shop", text=f'{{"prompt":"{"x" * 1000}"}}'), make("b", owner="shop")])
    bench.store.jobs.enqueue([make("c", labels={"shop": "berlin"})], "x", BatchOptions(owner="press"))
    stored = bench.store.statistics.held().stored
    assert stored["shop"] > 1000 + 2 * RECORD_SIZE
    assert RECORD_SIZE < stored["press"] < 2 * RECORD_SIZE
    for job_id in "abc":
        bench.store.jobs.cancel(job_id)
    assert bench.store.statistics.held() == Held({}, stored)
    assert bench.audit() == []
    bench.store.jobs.retry("b")
    assert bench.store.statistics.held().unfinished == {"shop": 1}
    bench.forward(1_000_000)
    bench.store.jobs.purge()
    held = bench.store.statistics.held()
    assert (held.unfinished, held.stored.keys()) == ({"shop": 1}, {"shop"})
    assert bench.audit() == []


def test_jobs_of_the_version_before_count_nowhere(bench: Bench, make: MakeJob) -> None:
    """Their records have no size, so what they add and take away is the same: nothing."""
    bench.store.jobs.enqueue([make("old", owner="shop"), make("new", owner="shop")])
    bench.raw.hdel(bench.keys.member("job", "old"), Field.SIZE)
    repair(bench.store)
    before = bench.store.statistics.held()
    assert before.unfinished == {"shop": 1}
    bench.store.jobs.cancel("old")
    assert bench.store.statistics.held() == before
    # A worker of the version before does not count ends
    bench.store.jobs.cancel("new")
    bench.raw.hset(bench.keys.singleton("unfinished"), "shop", 1)
    assert {finding.rule for finding in bench.audit()} == {"unfinished"}
    repair(bench.store)
    assert bench.store.statistics.held().unfinished == {}


@pytest.mark.parametrize("name", ["unfinished", "stored", "stored_images", "reserved", "uses"])
def test_a_repair_survives_a_name_that_is_no_text(bench: Bench, make: MakeJob, name: str) -> None:
    bench.store.jobs.enqueue([make("a", owner="shop")])
    bench.raw.hset(bench.keys.singleton(name), mapping={b"\xff\xfe": 1, "shop": 7})
    assert {finding.rule for finding in repair(bench.store).left.findings} == {"damaged"}


def test_damaged_counts_stop_no_job(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a", owner="shop")])
    for name in ("unfinished", "stored"):
        bench.raw.set(bench.keys.singleton(name), "no hash")
    room = Room(owner="shop", most=10, own=5, kept={"shop": 1, "press": 1})
    assert bench.store.jobs.enqueue([make("b", owner="shop")], room=room).outcomes == (CREATED,)
    bench.store.jobs.cancel("a")
    bench.forward(1_000_000)
    bench.store.jobs.purge()
    assert bench.store.jobs.get("b").state is State.QUEUED


def test_concurrent_producers_keep_to_the_limit(store: Store, make: MakeJob) -> None:
    def enqueue(producer: int) -> int:
        chunks = ([make(f"{producer}-{chunk}-{number}") for number in range(20)] for chunk in range(5))
        return sum(store.jobs.enqueue(chunk, room=Room(most=333)).outcomes.count(CREATED) for chunk in chunks)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(enqueue, range(8))) == 333
    assert store.statistics.totals().counts[State.QUEUED] == 333


def test_the_memory_of_redis_is_measured(redis_url: str, store: Store) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as raw:
        before = store.statistics.memory()
        assert before
        assert (before.limit, before.used > 100_000) == (0, True)
        raw.set("large", "x" * 5_000_000)
        raw.config_set("maxmemory", 500_000_000)
        try:
            after = store.statistics.memory()
        finally:
            raw.config_set("maxmemory", 0)
        assert isinstance(after, Memory)
        assert after.limit == 500_000_000
        assert after.used - before.used > 4_000_000


def test_without_permission_the_memory_is_unknown(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.acl_setuser("plain", enabled=True, nopass=True, keys=["*"], categories=["+@all", "-@dangerous"])
        client = connect(f"redis://plain:any@{redis_url.partition('@')[2]}")
        try:
            assert Store(client, Settings()).statistics.memory() is None
        finally:
            client.close()
            raw.acl_deluser("plain")


def test_the_memory_of_an_unreachable_redis_is_unavailable() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        Store(client, Settings()).statistics.memory()
    client.close()
