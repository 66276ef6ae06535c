"""The sender of hints replaces dead connections and raises no error when the broker is unavailable."""

import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery

from jobs.task_names import SUBMIT
from tests.chaos.proxy import Proxy
from worker.app import create_app
from worker.messages import Messages
from worker.settings import Settings


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    port = urlsplit(redis_url).port
    assert port
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def app(redis_url: str, proxy: Proxy) -> Iterator[Celery]:
    """The Celery app with its broker behind the proxy, and a short time-out."""
    broker_url = redis_url.replace(f":{urlsplit(redis_url).port}", f":{proxy.port}")
    app = create_app(Settings(redis_url=redis_url, broker_url=broker_url, result_url=redis_url))
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "socket_timeout": 0.3}
    yield app
    app.close()


@pytest.fixture
def queued(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_a_dead_pooled_connection_loses_no_message(app: Celery, proxy: Proxy, queued: redis.Redis) -> None:
    messages = Messages(app)
    messages.submit([["a"]])
    assert queued.llen(SUBMIT) == 1
    assert proxy.strand() > 0
    held = proxy.held
    messages.submit([["b"], ["c"]])
    assert proxy.held > held
    assert queued.llen(SUBMIT) == 3


@pytest.mark.slow
def test_an_unavailable_broker_raises_no_error_and_is_logged_once(
    app: Celery, proxy: Proxy, queued: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    messages = Messages(app)
    messages.submit([["a"]])
    proxy.weather.silent = True
    with caplog.at_level(logging.WARNING, "worker.messages"):
        messages.submit([["b"]])
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "worker.messages"]
    assert SUBMIT in warning
    proxy.clear()
    messages.submit([["c"]])
    assert queued.llen(SUBMIT) == 2
