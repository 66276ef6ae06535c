"""Acceptance and claims wait for replicas (BOOMERANG_REPLICAS), here with a real primary and a replica."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from jobs.connections.client import connect
from jobs.errors import StoreUnavailable
from jobs.new_job import NewJob, Outcome
from jobs.settings import Settings
from jobs.store.store import Store
from tests.support.sentinels import PASSWORD, Watched, watched
from tests.support.waiting import WaitFor

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, wait_for: WaitFor) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("sentinel"), wait_for) as servers:
        yield servers


@pytest.fixture
def store(servers: Watched, wait_for: WaitFor) -> Iterator[Store]:
    with closing(connect(servers.url())) as client:
        store = Store(client, Settings(replicas=1))
        store.continuity.establish(store.continuity.standing())
        yield store
    servers.ask(servers.servers[1], "CONFIG", "SET", "masterauth", PASSWORD)
    wait_for(lambda: servers.in_step() == 1, 30, "the replica follows")


def enqueue(store: Store, name: str) -> Outcome:
    return store.jobs.enqueue([NewJob(id=name, text="{}", model="m")]).outcomes[0]


def test_a_job_is_accepted_only_when_a_replica_has_it(store: Store, servers: Watched, wait_for: WaitFor) -> None:
    assert enqueue(store, "kept") is Outcome.CREATED
    servers.leave_behind(servers.servers[1])
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        enqueue(store, "unsure")
    # The repeat finds the job on the primary, but no replica has it yet.
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        enqueue(store, "unsure")
    servers.ask(servers.servers[1], "CONFIG", "SET", "masterauth", PASSWORD)
    wait_for(lambda: servers.in_step() == 1, 30, "the replica follows")
    assert enqueue(store, "unsure") is Outcome.KNOWN


def test_a_job_is_claimed_only_when_a_replica_has_the_claim(store: Store, servers: Watched) -> None:
    enqueue(store, "claimed")
    ids = store.attempts.admit(10).ids
    servers.leave_behind(servers.servers[1])
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        store.attempts.claim(ids)
