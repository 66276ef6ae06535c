"""The witness: sightings of the installation, stored outside of the jobs' Redis.

It is a hash in the Redis of the broker, or of the results if that is another one than the jobs'. There is none with one
Redis for everything, or with RabbitMQ and results in the jobs' Redis: then only the memory of running workers helps.
"""

from collections.abc import Iterable

import redis

from jobs.connections.client import connect
from jobs.connections.errors import translate_errors
from jobs.connections.urls import REDIS_SCHEMES
from jobs.settings import Settings
from jobs.store.installation import Sighting
from jobs.store.redis_keys import Keys


def witness_url(settings: Settings) -> str | None:
    """Return the URL of the witness's Redis; None if there is no witness."""
    for url in (settings.broker_url, settings.result_url):
        # As redis-py writes a socket (jobs.connections.settings.for_celery).
        ours = url.replace("redis+socket://", "unix://", 1).replace("?virtual_host=", "?db=", 1)
        if ours.startswith(tuple(f"{scheme}://" for scheme in REDIS_SCHEMES)) and ours != settings.redis_url:
            return ours
    return None


class Witness:
    """Reads and writes the witness. All methods raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, keys: Keys | None = None) -> None:
        self._client = client
        self._key = (keys or Keys()).singleton("witness")

    @classmethod
    def of(cls, settings: Settings) -> "Witness | None":
        """Return the witness of this service; it connects when it is first used."""
        url = witness_url(settings)
        return cls(connect(url, most_connections=4)) if url else None

    @translate_errors()
    def read(self) -> tuple[Sighting, ...]:
        """Read the last sighting of each installation that uses this broker. A damaged note is left out."""
        try:
            notes: Iterable[object] = self._client.hvals(self._key)
        except redis.ResponseError as error:
            if _is_damaged(error):
                return ()
            raise
        return tuple(sighting for note in notes if (sighting := Sighting.from_json(str(note))))

    @translate_errors()
    def write(self, sighting: Sighting) -> None:
        """Store a sighting."""
        note = (self._key, sighting.installation, sighting.to_json())
        try:
            self._client.hset(*note)
        except redis.ResponseError as error:
            if not _is_damaged(error):
                raise
            self._client.delete(self._key)
            self._client.hset(*note)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _is_damaged(error: redis.RedisError) -> bool:
    """Return whether the error reports a key of a wrong type."""
    return "WRONGTYPE" in str(error)
