"""Channels close cleanly when Redis goes away while messages are unacknowledged."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue
from kombu.transport import redis as kombu_redis

from jobs.connections.kombu import SILENCE, Transport, for_kombu
from ops.local.redis_server import RedisServer, is_ready, running
from tests.support.waiting import WaitFor

QUEUES = [Queue("first"), Queue("second")]


class KombuTransport(kombu_redis.Transport):
    """The transport of kombu, without our channels."""


#: Takes a transport. Returns the connection (untyped in kombu) and the messages that it received.
Consuming = Callable[[type], tuple[Any, list[Any]]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may kill."""
    with running(tmp_path / "redis", durable=False) as server:
        yield server


@pytest.fixture
def consuming(server: RedisServer) -> Iterator[Consuming]:
    """`consuming(transport)`: a connection that has received a message and not acknowledged it."""
    made: list[Connection] = []

    def consume(transport: type) -> tuple[Connection, list[Any]]:
        connection = Connection(server.url, transport=transport, transport_options={"socket_timeout": 2})
        made.append(connection)
        messages: list[Any] = []
        channel = connection.default_channel
        consumer = Consumer(channel, QUEUES, callbacks=[lambda _body, message: messages.append(message)])
        consumer.consume()
        with connection.Producer() as producer:
            producer.publish("a hint", routing_key="first", declare=QUEUES)
        while not messages:
            connection.drain_events(timeout=5)
        # Like a worker, wait for the next message, and have another channel for remote control.
        Consumer(connection.channel(), [Queue("third")]).consume()
        channel.connection.cycle.on_poll_start()
        return connection, messages

    yield consume
    for each in made:
        # Otherwise kombu would return the messages when the interpreter ends.
        each._default_channel._qos._on_collect.cancel()
        each._default_channel._qos._delivered.clear()
        each.close()


@pytest.fixture
def kill(server: RedisServer, wait_for: WaitFor) -> Callable[[], None]:
    def do() -> None:
        os.kill(server.pid, signal.SIGKILL)
        wait_for(lambda: not is_ready(server.url), message="Redis has ended")

    return do


def give_up(connection: Connection) -> None:
    """Close a lost connection as Celery does (`Consumer.on_connection_error_after_connected`)."""
    with suppress(Exception):
        connection.collect(socket_timeout=1)
    with suppress(*connection.connection_errors):
        connection.close()


def test_a_channel_is_closed_although_its_server_is_gone(kill: Callable[[], None], consuming: Consuming) -> None:
    connection, (message,) = consuming(Transport)
    channel = connection.default_channel
    kill()
    give_up(connection)
    assert channel.closed
    # A thread that ends its task now gets a connection error, which Celery handles.
    with pytest.raises(channel.connection_errors):
        message.ack()


def test_kombu_alone_still_needs_this(kill: Callable[[], None], consuming: Consuming) -> None:
    """Once this fails, `jobs.connections.kombu` needs no channels of its own for `redis://`."""
    connection, (message,) = consuming(KombuTransport)
    kill()
    with pytest.raises(AttributeError, match=r"hostname|client"):  # noqa: PT012 - either of them ends a worker
        give_up(connection)
        message.ack()


def test_a_channel_listens_only_while_its_server_answers(consuming: Consuming, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, _ = consuming(Transport)
    channel = connection.default_channel
    assert channel.listens()
    monkeypatch.setattr(channel, "_brpop_sent_at", channel._brpop_sent_at - SILENCE - 1)
    assert not channel.listens()
    # A worker with enough to do does not wait for messages.
    monkeypatch.setattr(channel.qos, "can_consume", lambda: False)
    assert channel.listens()


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_every_redis_url_uses_these_channels(scheme: str) -> None:
    with Connection(for_kombu(f"{scheme}://127.0.0.1:1/0").url) as connection:
        assert connection.transport_cls is Transport or isinstance(connection.transport, Transport)
