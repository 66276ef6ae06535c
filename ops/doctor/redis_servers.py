"""Check the Redis of the jobs and that of the broker: version, memory, persistence and access."""

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
from ops.doctor.acl_log import check_acl_log
from ops.doctor.check import Finding, bad, ok, refused, warning
from ops.doctor.foreign_queues import foreign_queues
from ops.doctor.sentinel import check_replicas, check_sentinels
from ops.local.redis_versions import OLDEST, ServerVersion

_SET_MAXMEMORY = (
    "Set maxmemory, in redis.conf and with CONFIG SET, to less than half of the memory that Redis may use (in compose: "
    "BOOMERANG_REDIS_MAXMEMORY, BOOMERANG_BROKER_MAXMEMORY). Without it no limit of memory holds, and the kernel kills "
    "Redis when memory runs out."
)
#: Share of `maxmemory` above which little memory is left for the results of unfinished jobs.
FULL = 0.85
#: Seconds by which this machine's clock may differ from that of Redis.
APART = 5.0
LOCAL = ("127.0.0.1", "::1", "localhost", "")
STATE, BROKER = "BOOMERANG_REDIS_URL", "BOOMERANG_BROKER_URL"


def check_redis(
    variable: str, url: str, *, state: bool, generate_queue: str = "celery", local: bool = False
) -> Iterator[Finding]:
    """Check version, eviction, persistence, memory, clock and access of one Redis.

    `state`: it holds the jobs; `local`: it belongs to a stack of `boomerang-server up`.
    """
    client = connect(url, most_connections=2)
    try:
        info: dict[str, Any] = client.info()
        config = _config(client)
        seconds, micros = client.time()
        apart = time.time() - (seconds + micros / 1e6)
        others = foreign_queues(client, generate_queue) if not state else []
    except redis.RedisError as error:
        cause = translated(error)
        if isinstance(cause, AccessRefused):
            name = user_of(url)
            yield refused(
                variable, f"refuses {f'the user {name}' if name else 'its default user'}: {cause.reply}", variable
            )
            return
        yield bad(variable, f"does not answer: {type(error).__name__}", f"Start it, or correct {variable}.")
        return
    finally:
        client.close()
    yield from check_info(variable, info, config, state=state, local=local)
    if behind_sentinel(url):
        yield from check_sentinels(variable, url)
        yield from check_replicas(variable, info, state=state)
    yield from _access(variable, url)
    yield from check_acl_log(variable, url)
    if abs(apart) > APART:
        remedy = "Run a time service (chrony, systemd-timesyncd) on both: leases use Redis's clock, signatures ours."
        yield warning(f"{variable}: clock", f"differs from the clock of this machine by {apart:+.1f} s", remedy)
    if others:
        remedy = (
            "Give each application its own database, or all the same visibility_timeout (300 here): the shortest one "
            "delivers the messages of all of them again."
        )
        yield warning(
            f"{variable}: other applications",
            f"another Celery application uses this database (queue {others[0]})",
            remedy,
        )


def check_info(
    variable: str, info: Mapping[str, Any], config: Mapping[str, str], *, state: bool, local: bool = False
) -> Iterator[Finding]:
    """Check the replies to INFO and CONFIG GET. `config` is empty if a hosted Redis refuses the latter."""
    version = ServerVersion.from_info(info)
    if version is None or not version.supported:
        yield bad(variable, str(version or "does not state its version"), f"Use {'.'.join(map(str, OLDEST))} or newer.")
    else:
        yield ok(variable, f"{version} answers")
        if version.warning:
            yield warning(f"{variable}: version", version.warning, version.remedy)
    if info.get("role") == "slave":
        yield bad(f"{variable}: role", "is a replica", "Name the primary: a replica accepts no writes.")
    policy = info.get("maxmemory_policy")
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if policy != "noeviction":
        yield bad(
            f"{variable}: eviction", f"maxmemory-policy is {policy}", "Set noeviction: other policies delete jobs."
        )
    elif not limit:
        remedy = "Restart the stack: it sets maxmemory." if local else _SET_MAXMEMORY
        yield bad(f"{variable}: memory", "maxmemory is not set, so producers can fill the machine's memory", remedy)
    elif used > FULL * limit:
        remedy = "Raise maxmemory, lower BOOMERANG_RETENTION, or send images as URLs."
        yield warning(f"{variable}: memory", f"{used / limit:.0%} of maxmemory is in use", remedy)
    else:
        yield ok(f"{variable}: memory", f"{used / limit:.0%} of maxmemory in use, nothing is evicted")
    yield from _persistence(variable, info, config, state=state)


def _persistence(
    variable: str, info: Mapping[str, Any], config: Mapping[str, str], *, state: bool
) -> Iterator[Finding]:
    subject = f"{variable}: persistence"
    fsync = config.get("appendfsync", "")
    if not int(info.get("aof_enabled", 0)):
        remedy = "Set appendonly yes: without it a restart loses every job since the last snapshot."
        yield (
            bad(subject, "the append-only file is off", remedy)
            if state
            else warning(subject, "the append-only file is off", remedy)
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield bad(
            subject, "the last write to the append-only file failed", "Check whether its disk is full or read-only."
        )
    elif not state:
        yield ok(subject, "append-only file; lost messages are repeated")
    elif fsync == "always":
        yield ok(subject, "append-only file, written to the disk before each reply")
    elif fsync == "no":
        yield bad(subject, "appendfsync no", "Set appendfsync always, or everysec if the last second may be lost.")
    else:
        remedy = "Set appendfsync always if a power cut must not lose the jobs accepted in the last second."
        yield warning(subject, f"append-only file, appendfsync {fsync or 'unknown'}", remedy)


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
        remedy = "Set a password (requirepass, or an ACL user): anybody who reaches it can read and change every job."
        yield bad(f"{variable}: access", "no password", remedy)
    if plain:
        remedy = "Use rediss:// (sentinels://) unless you alone use the network in between."
        yield warning(f"{variable}: access", "not encrypted", remedy)


def _config(client: redis.Redis) -> dict[str, str]:
    try:
        # One at a time: Redis 6 accepts a single name.
        config: Any = client.config_get("appendfsync")
    except redis.ResponseError:
        return {}  # hosted servers refuse it, and so do most users
    return dict(config)
