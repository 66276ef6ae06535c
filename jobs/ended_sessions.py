"""Sessions of people that were ended before their time, by logging out.

A session is a signed cookie, which a browser forgets but a copy of it does not. So its id is kept until the session
would have ended by itself.
"""

from datetime import datetime

import redis

from jobs.connections.errors import translate_errors
from jobs.store.redis_keys import Keys


class EndedSessions:
    """The ids of ended sessions, for all webhook processes. All methods raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._ended = keys.singleton("logged_out")

    def add(self, session_id: str, until: datetime, now: datetime) -> None:
        """Record that a session has ended. `until`: when it would have ended by itself."""
        with translate_errors(), self._client.pipeline() as pipe:
            pipe.zadd(self._ended, {session_id: until.timestamp()})
            pipe.zremrangebyscore(self._ended, "-inf", f"({now.timestamp()}")
            pipe.execute()

    def has(self, session_id: str) -> bool:
        """Return whether a session has ended."""
        with translate_errors():
            return self._client.zscore(self._ended, session_id) is not None
