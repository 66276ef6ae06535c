"""What befalls the two Redis servers: afterwards work goes on, nothing is lost, nothing is bought twice."""

import os
from pathlib import Path

import pytest
import redis
import requests

from jobs.errors import BatchNotFound
from tests.chaos.harness import Chaos
from tests.chaos.servers import REFUSALS, SERVERS, server_of, throw_out

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 60
#: Where each waits to be looked up: slots let few of them do so at a time.
FEW = 20
SHARES = (0.1, 0.4, 0.7)
#: Seconds within which any call of the API is answered, whatever the matter is.
BOUND = 20


def enqueue(running: Chaos, job: str, bound: float = BOUND) -> int:
    """The answer to one job more, which must come within the bound."""
    answer = requests.post(
        f"{running.stack.url}/v1/jobs",
        json={"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": job},
        headers={"Authorization": f"Bearer {running.stack.key}"},
        timeout=bound,
    )
    return answer.status_code


def bought_once(running: Chaos, job: str) -> None:
    """A job whose acceptance was refused or unknown may be sent again: it is done once."""
    assert enqueue(running, job) in {200, 201}
    running.wait_for(lambda: running.store.jobs.get(job).state.final, timeout=60, message=f"{job} ends")
    tasks = requests.get(
        f"{running.stack.plan.url('simulator')}/_sim/tasks", params={"external_task_id": job}, timeout=10
    )
    assert len(tasks.json()["tasks"]) == 1


@pytest.mark.parametrize("server", SERVERS)
def test_redis_stands_still(running: Chaos, server: str) -> None:
    """Nobody hangs with it: what is asked meanwhile is answered in time, and work goes on afterwards."""
    batch, job = f"still-{server}", f"while-{server}-stands"
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    with running.stopped(server):
        answered = enqueue(running, job)
    # Without the record there is no acceptance; without a broker there is.
    assert answered == (503 if server == "redis" else 201)
    running.promise_is_kept(JOBS, batch)
    bought_once(running, job)


@pytest.mark.chaos
@pytest.mark.parametrize("server", SERVERS)
def test_redis_is_killed_again_and_again(running: Chaos, server: str) -> None:
    batch = f"killed-{server}"
    before = running.stack.restarts
    running.enqueue(FEW, batch)
    for share in SHARES:
        running.until_ended(int(FEW * share), batch)
        running.kill(server)
    running.promise_is_kept(FEW, batch)
    assert running.stack.restarts >= before + len(SHARES)


@pytest.mark.parametrize("server", SERVERS)
def test_all_clients_are_thrown_out(running: Chaos, server: str) -> None:
    batch, thrown = f"thrown-{server}", []
    running.enqueue(JOBS, batch)
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        thrown.append(throw_out(server_of(running, server)))
    running.promise_is_kept(JOBS, batch)
    assert min(thrown) >= 2


def refuses(server: redis.Redis, error: str) -> bool:
    """Whether a write is refused by that error."""
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
def test_redis_refuses_writes(running: Chaos, server: str, error: str) -> None:
    batch, job, asked = f"{error}-{server}", f"while-{server}-{error}", server_of(running, server)
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    with REFUSALS[error](asked):
        running.wait_for(lambda: refuses(asked, error), message=f"{error} is the answer")
        before = heard(running)
        # Nothing is accepted that is not recorded; a broker is not needed for that.
        assert enqueue(running, job) in ({503, 429} if server == "redis" else {201})
        running.wait_for(lambda: heard(running) > before, timeout=30, message=f"worker or beat meet {error}")
    running.promise_is_kept(JOBS, batch)
    bought_once(running, job)


def heard(running: Chaos) -> int:
    """How much trouble worker and beat have told of."""
    return sum(running.said(name, word) for name in ("worker", "beat") for word in ("ERROR", "CRITICAL"))


def append_only_file(running: Chaos) -> Path:
    """Where Redis writes each change: one file (6), or the last of a folder (7)."""
    folder = Path(str(running.state.config_get("dir")["dir"]))
    return max([*folder.glob("appendonly.aof"), *folder.glob("appendonlydir/*.incr.aof")])


@pytest.mark.parametrize("torn", [0, pytest.param(7, marks=pytest.mark.chaos)])
def test_the_last_second_is_gone(running: Chaos, torn: int) -> None:
    """As after a power cut with `everysec`; `torn`: so many bytes of the last record that is left are gone, too.

    Nothing is bought twice, although the provider notices no repeat.
    """
    before, late = f"before-{torn}", f"late-{torn}"
    running.turn(duplicates="unnoticed", drop_callbacks=0.5)
    running.enqueue(FEW, before)
    running.until_ended(2, before)
    path = append_only_file(running)
    size, bought = path.stat().st_size, len(purchases(running, before))
    # In this second jobs are bought, and others are accepted and bought.
    running.enqueue(FEW, late)
    running.wait_for(lambda: len(purchases(running, late)) >= 3, timeout=30, message="some are bought")
    running.wait_for(lambda: len(purchases(running, before)) > bought, timeout=30, message="others are bought")
    with running.stopped("redis"):
        os.truncate(path, size - torn)
        running.kill("redis")
    if torn:
        running.wait_for(lambda: running.said("redis", "aof-load-truncated is enabled"), message="torn")
    with pytest.raises(BatchNotFound):
        running.patiently(lambda: running.store.batches.get(late))
    # What was accepted in that second is gone, and its producer sends it again.
    running.enqueue(FEW, late)
    for batch in (before, late):
        running.promise_is_kept(FEW, batch)


def purchases(running: Chaos, batch: str) -> list[str]:
    """The external ids that were bought, of this batch."""
    ledger = requests.get(f"{running.stack.plan.url('simulator')}/_sim/ledger", timeout=10).json()["purchases"]
    return [each["external_task_id"] for each in ledger if each["external_task_id"].startswith(f"{batch}.")]
