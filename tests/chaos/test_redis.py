"""What befalls the two Redis servers: afterwards work goes on, nothing is lost, nothing is bought twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import requests

from tests.chaos.harness import Chaos

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 60
SHARES = (0.1, 0.4, 0.7)
#: Seconds within which any call of the API is answered, whatever the matter is.
BOUND = 20
SERVERS = ("redis", "broker")


def server_of(running: Chaos, name: str) -> redis.Redis:
    return running.state if name == "redis" else running.broker


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
    running.wait_for(lambda: running.store.get(job).state.final, timeout=60, message=f"{job} ends")
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


@pytest.mark.parametrize(
    ("server", "shares"),
    [
        ("redis", SHARES[:1]),
        *(pytest.param(server, SHARES, marks=pytest.mark.chaos) for server in SERVERS),
    ],
)
def test_redis_is_killed_again_and_again(running: Chaos, server: str, shares: tuple[float, ...]) -> None:
    batch = f"killed-{server}-{len(shares)}"
    before = running.stack.restarts
    running.enqueue(JOBS, batch)
    for share in shares:
        running.until_ended(int(JOBS * share), batch)
        running.kill(server)
    running.promise_is_kept(JOBS, batch)
    assert running.stack.restarts >= before + len(shares)


@pytest.mark.parametrize("server", SERVERS)
def test_all_clients_are_thrown_out(running: Chaos, server: str) -> None:
    batch, thrown = f"thrown-{server}", []
    running.enqueue(JOBS, batch)
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        asked = server_of(running, server)
        # Those that subscribe are another type than those that ask.
        thrown.append(asked.client_kill_filter(_type="normal") + asked.client_kill_filter(_type="pubsub"))
    running.promise_is_kept(JOBS, batch)
    assert min(thrown) >= 2


@contextmanager
def full(server: redis.Redis) -> Iterator[None]:
    """Out of memory."""
    server.config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        server.config_set("maxmemory", "0")


@contextmanager
def read_only(server: redis.Redis) -> Iterator[None]:
    """Demoted, as a failover does it."""
    server.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        server.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def no_snapshots(server: redis.Redis) -> Iterator[None]:
    """It cannot write its snapshot, as with a full disk, and refuses all writes for that (MISCONF)."""
    blocked = Path(str(server.config_get("dir")["dir"]), "blocked.rdb")
    (blocked / "in-the-way").mkdir(parents=True, exist_ok=True)
    server.config_set("dbfilename", blocked.name)
    server.config_set("save", "3600 1")
    try:
        server.bgsave()
        yield
    finally:
        server.config_set("save", "")


REFUSALS = {"OOM": full, "READONLY": read_only, "MISCONF": no_snapshots}


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
