"""New jobs are accepted up to the limit of unfinished jobs, exactly. Known jobs are never refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from jobs.connections.client import connect
from jobs.errors import BatchNotFound, ServiceFull, StoreUnavailable
from jobs.new_job import Outcome
from jobs.settings import Settings
from jobs.states import State
from jobs.store.memory import Memory
from jobs.store.store import Store
from tests.support.bench import Bench, MakeJob

CREATED, KNOWN, CONFLICT, FULL = Outcome.CREATED, Outcome.KNOWN, Outcome.CONFLICT, Outcome.FULL


def test_new_jobs_are_accepted_in_order_up_to_the_limit(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("old")])
    jobs = [make("a"), make("old"), make("old", text="{}"), make("b"), make("c"), make("a"), make("c")]
    assert bench.store.jobs.enqueue(jobs, "x", most=3).outcomes == (
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
    assert bench.store.jobs.enqueue(jobs, "x", most=4).outcomes == (
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
    (outcome,) = bench.store.jobs.enqueue([make("new")], most=1).outcomes
    assert outcome is (CREATED if state.final else FULL)


def test_a_limit_of_zero_refuses_new_jobs_only(bench: Bench, make: MakeJob) -> None:
    bench.job("old")
    assert bench.store.jobs.enqueue([make("old"), make("new")], most=0).outcomes == (KNOWN, FULL)
    assert bench.store.jobs.enqueue([make("new")]).outcomes == (CREATED,)


def test_the_limit_holds_for_staged_jobs(bench: Bench, make: MakeJob) -> None:
    bench.job("old")
    first, second = [make("a"), make("old")], [make("b"), make("c")]
    assert bench.store.uploads.stage("t", first, most=3) == (CREATED, KNOWN)
    assert bench.store.uploads.stage("t", second, most=3) == (CREATED, FULL)
    # Another producer uses the last place first
    bench.job("other")
    with pytest.raises(ServiceFull):
        bench.store.uploads.commit("t", "x", 2, most=3)
    with pytest.raises(BatchNotFound):
        bench.store.batches.get("x")
    assert bench.store.uploads.commit("t", "x", 2, most=4).affected == 2
    assert bench.audit() == []


def test_committed_jobs_count_before_they_are_created(bench: Bench, make: MakeJob) -> None:
    bench.store.uploads.stage("t", [make(f"j{number}") for number in range(5)])
    bench.store.context.scripts.call("commit", "t", "x", "{}", 5, "")
    assert bench.store.jobs.enqueue([make("new")], most=5).outcomes == (FULL,)
    assert bench.store.jobs.enqueue([make("new")], most=6).outcomes == (CREATED,)
    bench.store.batches.sweep()
    assert bench.store.batches.get("x").accepted == 5


def test_concurrent_producers_keep_to_the_limit(store: Store, make: MakeJob) -> None:
    def enqueue(producer: int) -> int:
        chunks = ([make(f"{producer}-{chunk}-{number}") for number in range(20)] for chunk in range(5))
        return sum(store.jobs.enqueue(chunk, most=333).outcomes.count(CREATED) for chunk in chunks)

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
