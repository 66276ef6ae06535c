"""What all parts of the store share."""

from dataclasses import dataclass

import redis

from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class StoreContext:
    """One Redis: its client, the names of its keys, its Lua verbs, and the settings."""

    client: redis.Redis
    keys: Keys
    scripts: Scripts
    settings: Settings
