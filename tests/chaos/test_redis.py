"""Faults of the two Redis servers: afterwards work continues, nothing is lost, nothing is bought twice."""

import os
from pathlib import Path

import pytest
import redis
import requests

from jobs.errors import BatchNotFound
from tests.chaos.harness import Chaos
from tests.chaos.servers import REFUSALS, SERVERS, close_clients, server_of
from tests.support.producers import LOCAL, own

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 60
#: Few jobs, because each waits for a look-up, and slots let few do so at a time.
FEW = 20
SHARES = (0.1, 0.4, 0.7)
#: Seconds within which every call of the API must be answered, under any fault.
BOUND = 20


def enqueue(running: Chaos, job: str, bound: float = BOUND) -> int:
    """Enqueue one more job and return the answer, which must arrive within the bound."""
    answer = requests.post(
        f"{running.stack.url}/v1/jobs",
        json={"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": job},
        headers={"Authorization": f"Bearer {running.stack.key}"},
        timeout=bound,
    )
    return answer.status_code


def bought_once(running: Chaos, job: str) -> None:
    """Enqueue the job again, as after a refused or unknown acceptance, and check that it is bought once."""
    assert enqueue(running, job) in {200, 201}
    running.wait_for(lambda: running.store.jobs.get(own(job, LOCAL)).state.final, timeout=60, message=f"{job} ends")
    tasks = requests.get(
        f"{running.stack.plan.url('simulator')}/_sim/tasks", params={"external_task_id": own(job, LOCAL)}, timeout=10
    )
    assert len(tasks.json()["tasks"]) == 1


@pytest.mark.parametrize("server", SERVERS)
def test_a_suspended_redis_delays_no_answer_beyond_the_bound(running: Chaos, server: str) -> None:
    """Requests are answered in time meanwhile, and work continues afterwards."""
    batch, job = f"still-{server}", f"while-{server}-stands"
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    with running.stopped(server):
        answered = enqueue(running, job)
    # Jobs are accepted without the broker, but not without the jobs' Redis.
    assert answered == (503 if server == "redis" else 201)
    running.promise_is_kept(JOBS, batch)
    bought_once(running, job)


@pytest.mark.chaos
@pytest.mark.parametrize("server", SERVERS)
def test_repeated_kills_of_redis_lose_nothing(running: Chaos, server: str) -> None:
    batch = f"killed-{server}"
    before = running.stack.restarts
    running.enqueue(FEW, batch)
    for share in SHARES:
        running.until_ended(int(FEW * share), batch)
        running.kill(server)
    running.promise_is_kept(FEW, batch)
    assert running.stack.restarts >= before + len(SHARES)


@pytest.mark.parametrize("server", SERVERS)
def test_closed_client_connections_lose_nothing(running: Chaos, server: str) -> None:
    batch, thrown = f"thrown-{server}", []
    running.enqueue(JOBS, batch)
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        thrown.append(close_clients(server_of(running, server)))
    running.promise_is_kept(JOBS, batch)
    assert min(thrown) >= 2


def refuses(server: redis.Redis, error: str) -> bool:
    """Return whether the server refuses a write with that error."""
    try:
        server.set("chaos", "a write of the test's own", ex=60)
    except redis.RedisError as refusal:
        kinds = {"OOM": redis.OutOfMemoryError, "READONLY": redis.ReadOnlyError}
        return isinstance(refusal, kinds.get(error, redis.ResponseError))
    return False


@pytest.mark.parametrize(
    "error", ["OOM", *(pytest.param(error, marks=pytest.mark.chaos) for error in ("READONLY", "MISCONF"))]
)
@pytest.mark.parametrize("server", SERVERS)
def test_work_continues_after_redis_refused_writes(running: Chaos, server: str, error: str) -> None:
    batch, job, asked = f"{error}-{server}", f"while-{server}-{error}", server_of(running, server)
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    with REFUSALS[error](asked):
        running.wait_for(lambda: refuses(asked, error), message=f"{error} is the answer")
        before = count_logged_errors(running)
        # A job is accepted only if it is recorded, which needs no broker.
        assert enqueue(running, job) in ({503, 429} if server == "redis" else {201})
        running.wait_for(
            lambda: count_logged_errors(running) > before, timeout=30, message=f"worker or beat meet {error}"
        )
    running.promise_is_kept(JOBS, batch)
    bought_once(running, job)


def count_logged_errors(running: Chaos) -> int:
    """Return how many errors worker and beat have logged."""
    return sum(running.count_in_log(name, word) for name in ("worker", "beat") for word in ("ERROR", "CRITICAL"))


def append_only_file(running: Chaos) -> Path:
    """Return Redis's append-only file: a single file (6), or the last one of a folder (7)."""
    folder = Path(str(running.state.config_get("dir")["dir"]))
    return max([*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")])


@pytest.mark.parametrize("torn", [0, pytest.param(7, marks=pytest.mark.chaos)])
def test_losing_the_last_second_causes_no_second_purchase(running: Chaos, torn: int) -> None:
    """As after a power cut with `everysec`. `torn` is how many bytes of the last remaining record are lost too.

    Nothing is bought twice, although the provider accepts repeated ids.
    """
    before, late = f"before-{torn}", f"late-{torn}"
    running.turn(duplicates="unnoticed", drop_callbacks=0.5)
    running.enqueue(FEW, before)
    running.until_ended(2, before)
    path = append_only_file(running)
    size, bought = path.stat().st_size, len(purchases(running, before))
    # In this second, jobs are bought, and others are accepted and bought.
    running.enqueue(FEW, late)
    running.wait_for(lambda: len(purchases(running, late)) >= 3, timeout=30, message="some are bought")
    running.wait_for(lambda: len(purchases(running, before)) > bought, timeout=30, message="others are bought")
    with running.stopped("redis"):
        os.truncate(path, size - torn)
        running.kill("redis")
    if torn:
        running.wait_for(lambda: running.count_in_log("redis", "aof-load-truncated is enabled"), message="torn")
    with pytest.raises(BatchNotFound):
        running.patiently(lambda: running.store.batches.get(own(late, LOCAL)))
    # Jobs accepted in that second are lost, and their producer enqueues them again.
    running.enqueue(FEW, late)
    for batch in (before, late):
        running.promise_is_kept(FEW, batch)


def purchases(running: Chaos, batch: str) -> list[str]:
    """Return the external ids of this batch that were bought."""
    ledger = requests.get(f"{running.stack.plan.url('simulator')}/_sim/ledger", timeout=10).json()["purchases"]
    return [each["external_task_id"] for each in ledger if each["external_task_id"].startswith(f"{batch}.")]
