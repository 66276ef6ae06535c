"""How kombu and Celery's results reach what our URLs name."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import SentinelChannel, SentinelTransport

from jobs.sentinel import Connection, EncryptedConnection, Watched, behind_sentinel


@dataclass(frozen=True)
class Reach:
    """What to tell kombu and Celery: URL, transport options, and what `…_use_ssl` wants."""

    url: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ssl: Mapping[str, Any] | None = None


def for_kombu(url: str) -> Reach:
    """Of a broker or result store. Only URLs of `jobs.sentinel` are written otherwise there."""
    if not behind_sentinel(url):
        return Reach(url)
    # Of this process: nothing else in it uses kombu.
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:Transport"
    watched = Watched.from_url(url)
    return Reach(watched.kombu_url(), watched.kombu_options(), watched.tls)


class Channel(SentinelChannel):
    """kombu's, but for what ends a worker in a failover instead of moving it to the new primary."""

    connection_class = Connection
    connection_class_ssl = EncryptedConnection  # type: ignore[assignment] # kombu's own is only one of its kind

    def close(self) -> None:
        """Close it, although its server is gone: kombu reads an answer first, and leaves off where none comes."""
        if self._in_poll:
            with suppress(Empty, *self.connection_errors):
                self._brpop_read()  # type: ignore[no-untyped-call]
        super().close()  # type: ignore[no-untyped-call]


class Transport(SentinelTransport):
    """kombu's transport for `sentinel://`, with these channels."""

    Channel = Channel
