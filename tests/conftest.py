import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from jobs.connections.client import connect
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from ops.local import data_folder, redis_binary
from ops.local import redis_server as redis_servers
from tests.support import no_processes, tiers, waiting
from tests.support.drawing import Draw, draw_png
from tests.support.examples import QUICK
from tests.support.real_redis import RealRedis, StartRedis
from tests.support.waiting import WaitFor

PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy"}

# Time is no property under test: on a busy machine, the first drawing of text alone (Hypothesis builds its table of
# characters then) takes longer than Hypothesis allows by default.
#
# The examples of a test are the same in every run: what fails was changed. The profile `quick` (`make check`) draws
# fewer of them, `thorough` new ones.
PATIENT = hypothesis_settings(hypothesis_settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("repeatable", PATIENT, derandomize=True)
hypothesis_settings.register_profile("quick", PATIENT, derandomize=True, max_examples=QUICK)
hypothesis_settings.register_profile("thorough", PATIENT)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "repeatable")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run tests: three for two processors, because tests with processes mostly wait."""
    processors = os.cpu_count() or 1
    return processors if "not stack" in config.option.markexpr else processors + (processors + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_processes.mark(items)
    tiers.mark(items)
    # Files with processes come first: they wait for long, and at the end a long file would run alone.
    waiting = {item.path for item in items if item.get_closest_marker("stack")}
    items.sort(key=lambda item: item.path not in waiting)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect thousands of tests without garbage collections, and leave them out of later ones: it saves seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with no_processes.watched(item):
        return (yield)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person at the keyboard has set is no part of a test."""
    for name in list(os.environ):
        # The Redis server that the tests run is the choice of the person at the keyboard.
        if (name.startswith("BOOMERANG_") and name != redis_binary.VARIABLE) or name.lower() in PROXIES:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def ports_of_ones_own() -> Iterator[None]:
    """Tests run side by side: the ports that a person's stack likes would be found free by two at once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in data_folder.PREFERRED_PORTS:
            patch.setitem(data_folder.PREFERRED_PORTS, name, redis_servers.free_port())
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_works() -> None:
    """Whoever is started in the background of a script ignores SIGINT, and so would all processes of the tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_servers.RedisServer]:
    """One real Redis for the whole run, in memory only."""
    with redis_servers.running(tmp_path_factory.mktemp("redis"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def _redis(redis_server: redis_servers.RedisServer) -> Iterator[redis.Redis]:
    """One connection that empties it for every test: redis-py takes milliseconds to make one."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def redis_url(redis_server: redis_servers.RedisServer, _redis: redis.Redis) -> str:
    """The session's Redis, emptied, as a worker leaves it that has started with it."""
    _redis.flushall()
    _redis.hset(Keys().singleton("epoch"), mapping={"installation": "a-test", "accepted": 0})
    # Its scripts: a webhook loads none.
    Store(_redis, Settings()).ping()
    return redis_server.url


@pytest.fixture
def real_redis(tmp_path: Path) -> Iterator[StartRedis]:
    """`real_redis(version, "state" or "broker", *options)`: a server as in production, which ends with the test."""
    started: list[RealRedis] = []

    def start(version: str, name: str, *options: str) -> RealRedis:
        started.append(RealRedis(tmp_path / f"redis-{len(started)}", version, name, *options))
        started[-1].start()
        return started[-1]

    yield start
    for server in reversed(started):
        server.stop()


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """The jobs' store with its settings' defaults, on an empty Redis."""
    client = connect(redis_url)
    yield Store(client, Settings())
    client.close()


@pytest.fixture(scope="session")
def draw() -> Draw:
    """`draw(size=0, seed=0)`: a valid PNG of at least so many bytes; another seed makes another."""
    return draw_png


@pytest.fixture(scope="session")
def wait_for() -> WaitFor:
    """`wait_for(condition, timeout=10, message="…")`: returns once `condition()` is true; too late is a failure."""
    return waiting.wait_for
