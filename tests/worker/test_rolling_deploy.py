"""A rolling deploy: a worker of this version completes the jobs and messages that an older version left in Redis."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobs.audit.audit import audit
from jobs.fields import VERSION
from jobs.lanes import LaneSettings
from jobs.states import State
from tests.support.listener import Listener
from tests.support.simulator import KEY
from tests.support.waiting import WaitFor
from tests.support.worker_service import RunService
from tests.support.world import request_of
from worker.provider import Provider
from worker.settings import Settings

pytestmark = pytest.mark.stack
SNAPSHOTS = sorted((Path(__file__).parent / "snapshots").glob("*.json"))
HOOK = "http://listener.example/hook"
EPOCH = "{b}:epoch"
#: How each job ends. The others are completed.
ENDS = {
    "failed": State.FAILED,
    "cancelled-waiting": State.CANCELLED,
    "cancelled-at-work": State.CANCELLED,
    **{f"being-cancelled-{number}": State.CANCELLED for number in range(3)},
}
#: Jobs that had ended before. Their purchases are not in the new ledger.
ENDED_BEFORE = {"completed", "owes-a-notification", "failed"}


def restore(redis: Any, snapshot: dict[str, Any], hook: str) -> None:
    """Write the snapshot to Redis with its times moved to now (times are whole µs, 16 digits)."""
    moved = int((time.time() - snapshot["now"]) * 1_000_000)

    def moved_text(text: str) -> str:
        later = re.sub(r"(?<!\d)1[6-9]\d{14}(?!\d)", lambda found: str(int(found[0]) + moved), text)
        return later.replace(HOOK, hook)

    def value(given: Any) -> bytes:
        return base64.b64decode(given["base64"]) if isinstance(given, dict) else moved_text(given).encode()

    def fields(given: Any) -> Any:
        return {name: value(each) for name, each in given.items()}

    write: dict[str, Callable[[str, Any], Any]] = {
        "string": lambda key, given: redis.set(key, value(given)),
        "hash": lambda key, given: redis.hset(key, mapping=fields(given)),
        "list": lambda key, given: redis.rpush(key, *map(value, given)),
        "set": lambda key, given: redis.sadd(key, *map(value, given)),
        "zset": lambda key, given: redis.zadd(key, {name: at + moved * (at > 1e15) for name, at in given}),
        "stream": lambda key, given: [redis.xadd(key, fields(each)) for each in given],
    }
    for key, each in snapshot["keys"].items():
        write[each["type"]](key, each["value"])
    redis.delete("test:ahead", "test:clock")
    if redis.hexists(EPOCH, "run"):
        # A deploy does not replace Redis. A new run of Redis would make every job wait for look-ups first.
        redis.hset(EPOCH, "run", redis.info("server")["run_id"])


def test_a_snapshot_of_the_previous_version_exists() -> None:
    assert VERSION - 1 in {0, *(json.loads(path.read_text("utf-8"))["version"] for path in SNAPSHOTS)}


@pytest.fixture
def fresh(run_service: RunService) -> Iterator[Any]:
    """A service without jobs and without workers."""
    with run_service(workers=()) as service:
        yield service


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_every_older_job_ends_and_is_bought_once(path: Path, fresh: Any, listener: Listener, wait_for: WaitFor) -> None:
    snapshot, service = json.loads(path.read_text("utf-8")), fresh
    redis, store, simulator = service.redis, service.store, service.simulator
    # Given the provider with the tasks bought before, and Redis as the older version left it
    with closing(Provider(Settings(provider_url=simulator.url, provider_key=KEY), LaneSettings())) as buyer:
        for external_id in snapshot["bought"]:
            buyer.submit(request_of(), external_id)
    restore(redis, snapshot, f"{listener.url}/hook")
    ids = [key.removeprefix("{b}:j:") for key in snapshot["keys"] if key.startswith("{b}:j:")]
    # Then the audit finds only what a repair corrects: fields that the older version did not write
    assert [finding for finding in audit(store) if not finding.repairable] == []
    # When a worker of this version starts
    service.start(0)
    store.batches.resume("paused-batch")
    store.jobs.resume("paused")
    ids.append("not-received")
    wait_for(lambda: all(store.jobs.get_many(ids)), 30, "the message for a job is received")
    wait_for(lambda: all(job.at_provider is None for job in store.jobs.get_many(ids)), 60, "every job ends")
    wait_for(lambda: not any(job.owed for job in store.jobs.get_many(ids)), 30, "every delivery is made")
    # Then every job has its expected state
    expected = {job_id: ENDS.get(job_id, State.COMPLETED) for job_id in ids}
    assert {job.id: job.state for job in store.jobs.get_many(ids)} == expected
    assert {json.loads(body)["id"] for _, _, _, body in listener.received} == {"owes-a-notification", "to-be-notified"}
    assert service.producer.AsyncResult("parked").get(10)["id"] == "parked"
    assert store.jobs.get("second-attempt").attempt == 2
    assert audit(store) == []
    # And each was bought once, except those that were cancelled before they were sent
    tasks, twice, _ = simulator.bought()
    assert twice == 0
    unsent = {each for each, state in ENDS.items() if state is State.CANCELLED and each not in snapshot["bought"]}
    assert tasks == len(set(ids) - ENDED_BEFORE - unsent)
