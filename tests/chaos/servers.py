"""Faults of a running Redis server."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import redis

from tests.chaos.harness import Chaos

SERVERS = ("redis", "broker")


def server_of(running: Chaos, name: str) -> redis.Redis:
    """Return a client of the server that bypasses the proxies."""
    return running.state if name == "redis" else running.broker


def close_clients(server: redis.Redis) -> int:
    """Close the connections of all other clients. Return how many."""
    # Subscribers are a separate type of client.
    return int(server.client_kill_filter(_type="normal")) + int(server.client_kill_filter(_type="pubsub"))


@contextmanager
def full(server: redis.Redis) -> Iterator[None]:
    """Make the server run out of memory."""
    server.config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        server.config_set("maxmemory", "0")


@contextmanager
def read_only(server: redis.Redis) -> Iterator[None]:
    """Demote the server to a replica, as a failover does."""
    server.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        server.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def no_snapshots(server: redis.Redis) -> Iterator[None]:
    """Make the server fail to write its snapshot, as with a full disk, so that it refuses all writes (MISCONF)."""
    answer = server.config_get("dir", "dbfilename")
    blocked = Path(str(answer["dir"]), str(answer["dbfilename"]))
    # Put a folder in the file's place. Redis 7 and later refuse to change the file's name (protected).
    kept = blocked.with_name("kept.rdb")
    if blocked.exists():
        blocked.rename(kept)
    (blocked / "in-the-way").mkdir(parents=True)
    server.config_set("save", "3600 1")
    try:
        server.bgsave()
        yield
    finally:
        server.config_set("save", "")
        shutil.rmtree(blocked)
        if kept.exists():
            kept.rename(blocked)


#: The error that a server answers to all writes → how to cause it.
REFUSALS: Mapping[str, Callable[[redis.Redis], AbstractContextManager[None]]] = {
    "OOM": full,
    "READONLY": read_only,
    "MISCONF": no_snapshots,
}
