"""The memory use of Redis."""

from dataclasses import dataclass
from typing import Any

import redis

from jobs.connections.errors import translate_errors


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes as Redis counts them against its `maxmemory`; `limit` 0: it has none."""

    used: int
    limit: int


@translate_errors()
def read_memory(client: redis.Redis) -> Memory | None:
    """Read the memory use; None where the user may not call INFO. Raises `StoreUnavailable`."""
    try:
        info: Any = client.info("memory")
    except redis.exceptions.NoPermissionError:
        return None
    # Redis does not count these buffers against `maxmemory` either.
    used = int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0))
    return Memory(used, int(info.get("maxmemory", 0)))
