"""Settings for kombu and Celery's results from our URLs, and Redis channels that outlive their server."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from queue import Empty
from typing import Any

import redis
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from jobs.connections.link_queues import LinkQueues
from jobs.connections.rabbitmq import place
from jobs.connections.sentinel import Connection, EncryptedConnection, Watched, behind_sentinel
from jobs.errors import Unroutable

log = logging.getLogger(__name__)

#: Seconds without an answer to a BRPOP of one second, after which Redis counts as silent.
SILENCE = 5
#: Most unacknowledged messages of others that are logged.
_MOST_REFUSED = 100
#: Parts of a binding, as kombu stores it.
_BINDING = 3
#: The transport option of a process that only asks workers and reads events: Flower, the doctor. Its user may run no
#: scripts, and it does not return the unacknowledged messages of others.
ASKS_ONLY = "asks_only"
#: Transport options that are set on each channel, besides kombu's.
_OF_OURS = (ASKS_ONLY, "link_queues")


@dataclass(frozen=True)
class Reach:
    """The settings of kombu and Celery: URL, transport options, and the value of `…_use_ssl`."""

    url: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ssl: Mapping[str, Any] | None = None


def for_kombu(url: str) -> Reach:
    """Return the settings for a broker or result store. Only URLs of Sentinel differ from ours."""
    # Global to the process: nothing else in it uses kombu.
    TRANSPORT_ALIASES.update(_TRANSPORTS)
    if not behind_sentinel(url):
        return Reach(url)
    watched = Watched.from_url(url)
    return Reach(watched.kombu_url(), watched.kombu_options(), watched.tls)


class _Routing(kombu_redis.Channel):
    """A channel that knows the type of exchanges that others have declared, and reports a message that no queue takes.

    Producers may bind queues to an exchange, also queues that BOOMERANG_LINK_QUEUES does not name. So the queues that
    a message for a producer (`mandatory`) is routed to are compared, too.

    kombu keeps the bindings of a queue in Redis, but the type of an exchange in the memory of the process that declared
    it. It takes an exchange that it does not know for a direct one, and drops a message that matches no binding.
    """

    #: Exchange → type, as the sender of the next message names it.
    kinds: Mapping[str, str] = {}
    #: Patterns (BOOMERANG_LINK_QUEUES), from the transport options, which each new channel of a connection reads.
    link_queues: Sequence[str] = ()
    #: Whether a message for a producer is being routed.
    _compares_queues = False

    def typeof(self, exchange: str, default: str = "direct") -> Any:
        """Return the type of an exchange: as the sender names it or this process declared it, else by its bindings."""
        kind = self.kinds.get(exchange)
        if kind is None and exchange not in self.state.exchanges:
            # Only bindings of a topic exchange have a pattern.
            kind = "topic" if any(pattern for _, pattern, _ in self._bindings(exchange)) else default
        if kind is None:
            return super().typeof(exchange, default)  # type: ignore[no-untyped-call]
        return self.exchange_types[kind]

    def missing(self, exchange: str, routing_key: str, kind: str) -> str:
        """Return what is missing at the broker for such a message, or an empty text.

        A queue of Redis needs no declaration: its messages wait for a reader. Raises `DestinationRefused`.
        """
        if not exchange:
            return ""
        if kind and kind not in self.exchange_types:
            return f"Redis has no exchanges of the type {kind!r}"
        exchange_type: Any = self.exchange_types[kind] if kind else self.typeof(exchange)
        # The readers of a fanout exchange are unknown: Redis stores no binding of it.
        if exchange_type.type == "fanout":
            return ""
        if queues := exchange_type.lookup(self._bindings(exchange), exchange, routing_key, None):
            LinkQueues(self.link_queues).check(exchange, routing_key, queues)
            return ""
        return f"no queue is bound to {place(exchange, routing_key)}"

    def _bindings(self, exchange: str) -> list[tuple[str, str, str]]:
        """Return (routing key, pattern, queue) of each binding."""
        return [each for each in self.get_table(exchange) if len(each) == _BINDING]  # type: ignore[no-untyped-call]

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **kwargs: Any) -> Any:
        """Publish a message. If it is `mandatory`, raises `Unroutable` or `DestinationRefused`."""
        if not kwargs.get("mandatory"):
            return super().basic_publish(message, exchange, routing_key, **kwargs)  # type: ignore[no-untyped-call]
        if why := self.missing(exchange, routing_key, self.kinds.get(exchange, "")):
            raise Unroutable(why)
        self._compares_queues = True
        try:
            return super().basic_publish(message, exchange, routing_key, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            self._compares_queues = False

    def _lookup(self, exchange: str, routing_key: str, default: str | None = None) -> Any:
        """Return the queues of a message. A binding may be new since `missing`, so they are compared here again."""
        queues = super()._lookup(exchange, routing_key, default)  # type: ignore[no-untyped-call]
        if self._compares_queues and exchange:
            LinkQueues(self.link_queues).check(exchange, routing_key, queues)
        return queues


class _QoS(kombu_redis.QoS):
    """kombu's record of unacknowledged messages.

    Workers of all applications on a broker return each other's messages, and a producer can write an entry that names
    any queue. One that this user may not return does not stop the worker.
    """

    _refused: frozenset[str] = frozenset()

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Return messages of workers that ended to their queues, except in a process that only asks."""
        if not self.channel.asks_only:
            super().restore_visible(*args, **kwargs)  # type: ignore[no-untyped-call]

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own signature
        """Return a message to its queue."""
        try:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]
        except redis.exceptions.NoPermissionError:
            if tag not in self._refused and len(self._refused) < _MOST_REFUSED:
                self._refused |= {tag}
                log.warning(
                    "unacknowledged message %r stays where it is: this user may not return it to its queue. Another "
                    "application's worker can",
                    tag,
                )


class _Frugal(_Routing):
    """A channel that runs no script where the process only asks: it uses commands instead."""

    QoS = _QoS
    asks_only = False
    from_transport_options: Any = (*kombu_redis.Channel.from_transport_options, *_OF_OURS)

    @cached_property
    def _refresh_binding(self) -> Callable[..., Any]:
        return _refresh_binding if self.asks_only else super()._refresh_binding

    def sweep_bindings(self, limit: int = 100) -> int:
        """Delete the bindings of queues that expired. Workers do that for the processes that only ask."""
        return 0 if self.asks_only else int(super().sweep_bindings(limit))  # type: ignore[no-untyped-call]


def _refresh_binding(*, keys: Sequence[str], args: Sequence[Any], client: redis.Redis) -> None:
    """Do what kombu's script REFRESH_BINDING does. A server's clock that differs by seconds does no harm here."""
    client.sadd(keys[0], args[0])
    client.zadd(keys[1], {args[1]: int(time.time() * 1000) + int(args[2])}, gt=True)


class _OutlivesServer(_Frugal):
    """A channel that can be closed although its server is gone, and whose later use raises a clear error.

    kombu (5.7) uses the server while it closes a channel: it reads a pending answer, deletes queues and returns
    unacknowledged messages. Each of these raises if the server is gone. The channel then stays half open, and its next
    use raises AttributeError, "'NoneType' object has no attribute 'hostname'". Celery treats that as an error of the
    worker, not of the connection, and ends (https://github.com/celery/kombu/issues/582 is the same). No message is
    lost: Redis delivers unacknowledged messages again after the visibility time-out.

    `tests/jobs/connections/test_kombu.py::test_kombu_alone_still_needs_this` fails when this class is no longer needed.
    """

    #: kombu's, by the monotonic clock.
    _brpop_sent_at: float | None = None  # type: ignore[assignment]

    def close(self) -> None:
        """Close the channel, even if the server is gone."""
        if self._in_poll:
            with suppress(Empty, *self.connection_errors):
                self._brpop_read()  # type: ignore[no-untyped-call]
        try:
            super().close()  # type: ignore[no-untyped-call]
        except self.connection_errors:
            self._leave()

    def listens(self) -> bool:
        """Return whether Redis answers. It is asked for messages once a second, unless the worker has enough."""
        if not self.active_queues or not self.qos.can_consume():
            return True
        return self._brpop_sent_at is not None and time.monotonic() - self._brpop_sent_at < SILENCE

    def _leave(self) -> None:
        """Do the part of closing that needs no server."""
        self.closed = True
        self._disconnect_pools()  # type: ignore[no-untyped-call]
        self._close_clients()  # type: ignore[no-untyped-call]
        if self.connection is not None:
            self.connection.close_channel(self)

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's own signature
        # Threads acknowledge messages when they have finished, sometimes after the connection was closed.
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("the connection of this channel is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[no-untyped-call]


class Channel(_OutlivesServer):
    """kombu's channel for `redis://` and `rediss://`."""


class Transport(kombu_redis.Transport):
    """kombu's transport for them, with these channels."""

    Channel = Channel


class WatchedChannel(_OutlivesServer, kombu_redis.SentinelChannel):
    """kombu's channel for `sentinel://`, which leaves a server that is no longer the primary."""

    from_transport_options: Any = (*kombu_redis.SentinelChannel.from_transport_options, *_OF_OURS)
    connection_class = Connection
    connection_class_ssl = EncryptedConnection  # type: ignore[assignment] # kombu's own is only one of its kind


class WatchedTransport(kombu_redis.SentinelTransport):
    """kombu's transport for `sentinel://`, with these channels."""

    Channel = WatchedChannel


_TRANSPORTS = {
    "redis": f"{__name__}:Transport",
    "rediss": f"{__name__}:Transport",
    "sentinel": f"{__name__}:WatchedTransport",
    "amqp": "jobs.connections.rabbitmq:Transport",
    "amqps": "jobs.connections.rabbitmq:EncryptedTransport",
}
