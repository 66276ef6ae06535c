"""The client of the jobs' Redis."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from jobs.connections.sentinel import Watched, behind_sentinel

#: What connections report to the server. By default redis-py reads its version from disk, 1 ms for each connection.
DRIVER = DriverInfo(lib_version=redis.__version__)


def connect(url: str, *, most_connections: int = 256, timeout: float = 3.0, text: bool = True) -> redis.Redis:
    """Return a client for a Redis or Sentinel URL. Nothing connects before the first command.

    Waits are bounded by `timeout` (seconds). Nothing is retried: a script whose answer got lost may have run. `text`:
    decode answers; otherwise they are the stored bytes.
    """
    options: dict[str, Any] = {
        "decode_responses": text,
        # Bytes that are not UTF-8 become half surrogates, and the same bytes again when they are written. One damaged
        # value then fails where it is decoded (jobs.decoding), with its key, and not the whole answer.
        "encoding_errors": "surrogateescape",
        "socket_timeout": timeout,
        "socket_connect_timeout": 2.0,
        "health_check_interval": 15,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": most_connections,
        "driver_info": DRIVER,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return Watched.from_url(url).client(**options) if behind_sentinel(url) else redis.Redis.from_url(url, **options)
