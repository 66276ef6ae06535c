"""What all parts of the store share."""

from dataclasses import dataclass

import redis

from jobs.settings import Settings
from jobs.store.limits import Limits
from jobs.store.redis_keys import Keys
from jobs.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class StoreContext:
    """One Redis: its client, the names of its keys, its Lua verbs, its configured settings, and changed limits."""

    client: redis.Redis
    keys: Keys
    scripts: Scripts
    configured: Settings
    limits: Limits

    @property
    def settings(self) -> Settings:
        """The settings with the limits that are in force now. Raises `StoreUnavailable`."""
        return self.limits.in_force()
