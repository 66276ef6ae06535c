"""What can be done to a Redis server that runs."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import redis

from tests.chaos.harness import Chaos

SERVERS = ("redis", "broker")


def server_of(running: Chaos, name: str) -> redis.Redis:
    """A client of that server, past the proxies."""
    return running.state if name == "redis" else running.broker


def throw_out(server: redis.Redis) -> int:
    """Close the connection of every client but this one. Returns how many."""
    # Those that subscribe are another type than those that ask.
    return int(server.client_kill_filter(_type="normal")) + int(server.client_kill_filter(_type="pubsub"))


@contextmanager
def full(server: redis.Redis) -> Iterator[None]:
    """Out of memory."""
    server.config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        server.config_set("maxmemory", "0")


@contextmanager
def read_only(server: redis.Redis) -> Iterator[None]:
    """Demoted, as a failover does it."""
    server.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        server.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def no_snapshots(server: redis.Redis) -> Iterator[None]:
    """It cannot write its snapshot, as with a full disk, and refuses all writes for that (MISCONF)."""
    answer = server.config_get("dir", "dbfilename")
    blocked = Path(str(answer["dir"]), str(answer["dbfilename"]))
    # A folder where the file should be. Another name for the file is refused by Redis 7 and later (protected).
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


#: How a server comes to refuse all writes, by the error that it then answers.
REFUSALS: Mapping[str, Callable[[redis.Redis], AbstractContextManager[None]]] = {
    "OOM": full,
    "READONLY": read_only,
    "MISCONF": no_snapshots,
}
