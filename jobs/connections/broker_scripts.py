"""The scripts that redis-py, kombu and Celery run at the broker.

These libraries load a script when the server lacks it. Producers run their own workers, but have no right to load
scripts: a script that never ends would block the server for all. So our workers load these for them.
"""

from collections.abc import Iterable

import redis
from kombu.transport.redis import REFRESH_BINDING, SWEEP_BINDINGS
from redis.lock import Lock

from jobs.connections.errors import translate_errors

#: Those of redis-py's lock, by which kombu returns unacknowledged messages, and of kombu's queues that expire.
_SCRIPTS = (
    Lock.LUA_RELEASE_SCRIPT,
    Lock.LUA_EXTEND_SCRIPT,
    Lock.LUA_REACQUIRE_SCRIPT,
    REFRESH_BINDING,
    SWEEP_BINDINGS,
)


def load_scripts(client: redis.Redis, more: Iterable[str] = ()) -> None:
    """Load them, and `more`. Raises `StoreUnavailable`; `AccessRefused` for a user without the right."""
    with translate_errors(), client.pipeline(transaction=False) as pipe:
        for script in (*_SCRIPTS, *more):
            pipe.script_load(script)
        pipe.execute()
