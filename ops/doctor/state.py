"""The Redis of the jobs, and the broker where it is one: whether they keep what they are given."""

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import redis

from jobs.connections.client import connect
from jobs.connections.errors import translated
from jobs.connections.sentinel import Watched, behind_sentinel
from jobs.errors import AccessRefused
from ops.commands.store import user_of
from ops.doctor.check import Finding, bad, ok, refused, warning
from ops.doctor.denied import look_at_denied
from ops.doctor.neighbours import neighbours
from ops.doctor.sentinel import judge_replicas, look_at_sentinels
from ops.local.redis_versions import OLDEST, ServerVersion

#: Share of `maxmemory` above which there is too little room for what jobs under way will still bring.
FULL = 0.85
#: Seconds by which this host's clock may differ from that of Redis: signatures and logs go by the former.
APART = 5.0
LOCAL = ("127.0.0.1", "::1", "localhost", "")
STATE, BROKER = "BOOMERANG_REDIS_URL", "BOOMERANG_BROKER_URL"


def look_at_redis(
    variable: str, url: str, *, state: bool, generate_queue: str = "celery", local: bool = False
) -> Iterator[Finding]:
    """Version, eviction, persistence, memory, clock and access of one Redis.

    `state`: it holds the jobs; `local`: it is of a stack that `boomerang-server up` runs.
    """
    client = connect(url, most_connections=2)
    try:
        info: dict[str, Any] = client.info()
        config = _config(client)
        seconds, micros = client.time()
        apart = time.time() - (seconds + micros / 1e6)
        others = neighbours(client, generate_queue) if not state else []
    except redis.RedisError as error:
        told = translated(error)
        if isinstance(told, AccessRefused):
            name = user_of(url)
            yield refused(
                variable, f"refuses {f'the user {name}' if name else 'its default user'}: {told.said}", variable
            )
            return
        yield bad(variable, f"does not answer: {type(error).__name__}", f"Start it, or correct {variable}.")
        return
    finally:
        client.close()
    yield from judge(variable, info, config, state=state, local=local)
    if behind_sentinel(url):
        yield from look_at_sentinels(variable, url)
        yield from judge_replicas(variable, info, state=state)
    yield from _access(variable, url)
    yield from look_at_denied(variable, url)
    if abs(apart) > APART:
        do = "Run a time service (chrony, systemd-timesyncd) on both; leases go by Redis's clock, signatures by hosts'."
        yield warning(f"{variable}: clock", f"differs from this host's by {apart:+.1f} s", do)
    if others:
        do = (
            "Give all apps on one database the same visibility_timeout (300 here), or each a database of its own: the "
            "shortest of them gives out everybody's messages a second time."
        )
        yield warning(f"{variable}: neighbours", f"another Celery app uses this database (queue {others[0]} …)", do)


def judge(
    variable: str, info: Mapping[str, Any], config: Mapping[str, str], *, state: bool, local: bool = False
) -> Iterator[Finding]:
    """What INFO and CONFIG GET say. `config` is empty where a hosted Redis does not tell."""
    version = ServerVersion.from_info(info)
    if version is None or not version.supported:
        yield bad(variable, str(version or "does not state its version"), f"Use {'.'.join(map(str, OLDEST))} or newer.")
    else:
        yield ok(variable, f"{version} answers")
        if version.warning:
            yield warning(f"{variable}: version", version.warning, version.remedy)
    if info.get("role") == "slave":
        yield bad(f"{variable}: role", "is a replica", "Name the primary: a replica takes no writes.")
    policy = info.get("maxmemory_policy")
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if policy != "noeviction":
        yield bad(f"{variable}: eviction", f"maxmemory-policy is {policy}", "Set noeviction: others delete jobs.")
    elif not limit and local:
        yield ok(f"{variable}: memory", "no maxmemory: it is this machine's own; nothing is evicted")
    elif not limit:
        do = "Set maxmemory below the machine's memory: a Redis that the kernel kills answers worse than a full one."
        yield warning(f"{variable}: memory", "maxmemory is not set", do)
    elif used > FULL * limit:
        do = "Raise maxmemory, lower BOOMERANG_RETENTION, or give images as URLs."
        yield warning(f"{variable}: memory", f"{used / limit:.0%} of maxmemory is in use", do)
    else:
        yield ok(f"{variable}: memory", f"{used / limit:.0%} of maxmemory in use, nothing is evicted")
    yield from _persistence(variable, info, config, state=state)


def _persistence(
    variable: str, info: Mapping[str, Any], config: Mapping[str, str], *, state: bool
) -> Iterator[Finding]:
    about = f"{variable}: persistence"
    fsync = config.get("appendfsync", "")
    if not int(info.get("aof_enabled", 0)):
        do = "Set appendonly yes: without it a restart takes every job since the last snapshot."
        yield (
            bad(about, "the append-only file is off", do)
            if state
            else warning(about, "the append-only file is off", do)
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield bad(about, "the last write to the append-only file failed", "Look at its disk: full, or read-only?")
    elif not state:
        yield ok(about, "append-only file: messages are hints, their loss is made up for")
    elif fsync == "always":
        yield ok(about, "append-only file, on the disk before a command is answered")
    elif fsync == "no":
        yield bad(about, "appendfsync no", "Set appendfsync always, or everysec where a last second may be lost.")
    else:
        do = "Set appendfsync always where a power cut must not take the jobs accepted in the last second."
        yield warning(about, f"append-only file, appendfsync {fsync or 'unknown'}", do)


def _access(variable: str, url: str) -> Iterator[Finding]:
    if behind_sentinel(url):
        watched = Watched.from_url(url)
        hosts = [host for host, _ in watched.sentinels]
        password, plain = watched.login.get("password"), watched.tls is None
    else:
        parts = urlsplit(url)
        hosts = [LOCAL[0] if parts.scheme == "unix" else parts.hostname or ""]
        password, plain = parts.password, parts.scheme == "redis"
    if all(host in LOCAL for host in hosts):
        return
    if not password:
        do = "Set a password (requirepass, or an ACL user): whoever reaches it reads and changes every job."
        yield bad(f"{variable}: access", "no password", do)
    if plain:
        do = "Use rediss:// (sentinels://) unless the network between is yours alone."
        yield warning(f"{variable}: access", "not encrypted", do)


def _config(client: redis.Redis) -> dict[str, str]:
    try:
        # One at a time: Redis 6 takes a single name.
        told: Any = client.config_get("appendfsync")
    except redis.ResponseError:
        return {}  # hosted ones refuse it, and ACLs should
    return dict(told)
