"""The client of the state waits for a bounded time and never asks twice: what it asked for may have been done."""

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
def wire(redis_url: str) -> Iterator[tuple[Proxy, redis.Redis]]:
    """What stands between a client of ours and Redis, and the client."""
    port = urlsplit(redis_url).port
    assert port
    with Proxy(port) as proxy:
        client = connect(redis_url.replace(f":{port}", f":{proxy.port}"), timeout=0.5)
        yield proxy, client
        client.close()


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_reply_is_told_and_not_asked_for_again(
    wire: tuple[Proxy, redis.Redis], store: Store, times: int
) -> None:
    proxy, client = wire
    raw = store.context.client
    client.ping()
    for _ in range(times):
        proxy.weather.swallow = 1
        with pytest.raises((redis.ConnectionError, redis.TimeoutError)):
            client.incr("counted")
        client.ping()  # the next connection
    assert (proxy.swallowed, raw.get("counted")) == (times, str(times))


def test_silence_ends(wire: tuple[Proxy, redis.Redis]) -> None:
    proxy, client = wire
    client.ping()
    proxy.weather.silent = True
    with pytest.raises(redis.TimeoutError):
        client.incr("counted")
    proxy.clear()
    assert client.get("counted") is None


def test_a_script_whose_reply_was_lost_has_run_once_and_may_be_called_again(
    wire: tuple[Proxy, redis.Redis], store: Store
) -> None:
    proxy, client = wire
    beyond = Store(client, Settings())
    beyond.ping()
    job = NewJob(id="fox", text='{"prompt":"a fox"}', model="kirin_image_omni")
    proxy.weather.swallow = 1
    with pytest.raises(StoreUnavailable):
        beyond.jobs.enqueue([job], "x")
    assert store.batches.get("x").accepted == 1
    assert beyond.jobs.enqueue([job], "x").outcomes == ("known",)
    assert store.batches.get("x").accepted == 1
