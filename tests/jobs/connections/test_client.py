"""The Redis client waits for a bounded time and never repeats a command: Redis may have run it."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis

from jobs.connections.client import connect
from jobs.errors import StoreUnavailable
from jobs.new_job import NewJob
from jobs.settings import Settings
from jobs.store.store import Store
from tests.chaos.proxy import Proxy


@pytest.fixture
def proxied(redis_url: str) -> Iterator[tuple[Proxy, redis.Redis]]:
    """A proxy in front of Redis, and a client that connects through it."""
    port = urlsplit(redis_url).port
    assert port
    with Proxy(port) as proxy:
        client = connect(redis_url.replace(f":{port}", f":{proxy.port}"), timeout=0.5)
        yield proxy, client
        client.close()


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_reply_is_an_error_and_the_command_is_not_repeated(
    proxied: tuple[Proxy, redis.Redis], store: Store, times: int
) -> None:
    proxy, client = proxied
    raw = store.context.client
    client.ping()
    for _ in range(times):
        proxy.weather.swallow = 1
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            client.incr("counted")
        client.ping()  # over a new connection
    assert (proxy.swallowed, raw.get("counted")) == (times, str(times))


def test_a_silent_connection_times_out(proxied: tuple[Proxy, redis.Redis]) -> None:
    proxy, client = proxied
    client.ping()
    proxy.weather.silent = True
    with pytest.raises(redis.TimeoutError):
        client.incr("counted")
    proxy.clear()
    assert client.get("counted") is None


def test_a_script_whose_reply_was_lost_may_be_called_again(proxied: tuple[Proxy, redis.Redis], store: Store) -> None:
    proxy, client = proxied
    proxied_store = Store(client, Settings())
    proxied_store.ping()
    job = NewJob(id="fox", text='{"prompt":"a fox"}', model="kirin_image_omni")
    proxy.weather.swallow = 1
    with pytest.raises(StoreUnavailable):
        proxied_store.jobs.enqueue([job], "x")
    assert store.batches.get("x").accepted == 1
    assert proxied_store.jobs.enqueue([job], "x").outcomes == ("known",)
    assert store.batches.get("x").accepted == 1


def test_connections_report_the_library_without_reading_its_version_from_disk(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_from_disk() -> str:
        pytest.fail("each connection reads it")

    monkeypatch.setattr("redis.utils.get_lib_version", read_from_disk)
    with connect(redis_url) as client:
        (mine,) = (each for each in client.client_list() if int(each["id"]) == client.client_id())
    assert (mine.get("lib-name", "redis-py"), mine.get("lib-ver", redis.__version__)) == ("redis-py", redis.__version__)
