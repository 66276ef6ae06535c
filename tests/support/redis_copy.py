"""Copy everything out of a Redis, and put it back."""

from collections.abc import Mapping

import redis


def copy(client: redis.Redis, pattern: str | bytes = "*") -> dict[bytes, bytes]:
    """Return all of Redis's content by key. `client` must not decode responses."""
    keys = list(client.scan_iter(pattern, count=1000))
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.dump(key)
        # A hint may have expired meanwhile.
        return {key: value for key, value in zip(keys, pipe.execute(), strict=True) if value is not None}


def put_back(client: redis.Redis, contents: Mapping[bytes, bytes]) -> None:
    """Replace all of Redis's content by the copy."""
    client.flushdb()
    with client.pipeline(transaction=False) as pipe:
        for key, value in contents.items():
            pipe.restore(key, 0, value, replace=True)
        pipe.execute()
