"""How much of its memory Redis has used."""

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
    """Ask Redis; None where this user may not (INFO is often kept from applications). Raises `StoreUnavailable`."""
    try:
        info: Any = client.info("memory")
    except redis.exceptions.NoPermissionError:
        return None
    # What replicas and the log of writes are still to be sent is not counted.
    used = int(info["used_memory"]) - int(info.get("mem_not_counted_for_evict", 0))
    return Memory(used, int(info.get("maxmemory", 0)))
