"""Find out from ACL LOG whether Redis dropped changes when it loaded its append-only file."""

from collections.abc import Iterator
from typing import Any

import redis

from jobs.connections.client import connect
from ops.doctor.check import Finding, bad

#: Contexts in which Redis checks commands of an append-only file: transactions, and scripts that Redis 6 wrote.
REPLAYED = ("multi", "lua")
#: A rule for the default user that loses nothing and makes a login impossible (`ops/access`).
RULE = "user default off resetpass ~* &* +@all"


def check_acl_log(variable: str, url: str) -> Iterator[Finding]:
    """Check whether the last start of Redis lost jobs. No finding if this user may not read ACL LOG.

    Redis 7 and later execute the file as the default user, and drop what that user has no right to do in a transaction
    or script. The log begins with the start of the server.
    """
    dropped = [each for each in _log(url) if each["username"] == "default" and each["context"] in REPLAYED]
    if not dropped:
        return
    count = sum(int(each["count"]) for each in dropped)
    names = ", ".join(sorted({str(each["object"]).upper() for each in dropped}))
    yield bad(
        f"{variable}: default user",
        f"Redis dropped at least {count} changes when it loaded its append-only file, because its default user has no "
        f"right to {names}. Jobs are missing",
        f"Stop this Redis before it rewrites its file, set the rule '{RULE}', and start it again: "
        "docs/guides/recover-redis.md, 'Redis forgot jobs in a restart'.",
    )


def _log(url: str) -> list[dict[str, Any]]:
    client = connect(url, most_connections=1)
    try:
        entries: Any = client.acl_log()
        return list(entries)
    except redis.RedisError:
        return []  # hosted servers refuse it, and so do users with few rights
    finally:
        client.close()
