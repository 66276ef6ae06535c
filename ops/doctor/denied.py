"""What Redis has refused (ACL LOG): whether it has dropped changes when it loaded its append-only file."""

from collections.abc import Iterator
from typing import Any

import redis

from jobs.store.store import connect
from ops.doctor.check import Finding, bad

#: Contexts in which commands of an append-only file are checked: a transaction, and a script that Redis 6 has kept.
REPLAYED = ("multi", "lua")
#: The rule of the default user that loses nothing and lets nobody in (`ops/access`).
RULE = "user default off resetpass ~* &* +@all"


def look_at_denied(variable: str, url: str) -> Iterator[Finding]:
    """Find out whether the last start has lost jobs. Says nothing where Redis does not show its ACL LOG.

    Redis 7 and later load the file as the default user, whoever wrote it, and drop what that user may not do in a
    transaction or script. The log begins with the start. A default user that can log in, and is refused something in
    the same contexts, has too few rights for the next load.
    """
    dropped = [each for each in _log(url) if each["username"] == "default" and each["context"] in REPLAYED]
    if not dropped:
        return
    count = sum(int(each["count"]) for each in dropped)
    names = ", ".join(sorted({str(each["object"]).upper() for each in dropped}))
    yield bad(
        f"{variable}: default user",
        f"Redis dropped at least {count} changes when it loaded its append-only file, because its default user has no "
        f"right to {names}. Records are missing",
        f"Stop this Redis before it rewrites its file, make the rule '{RULE}', and start it: "
        "docs/guides/recover-redis.md, Redis forgot jobs in a restart.",
    )


def _log(url: str) -> list[dict[str, Any]]:
    client = connect(url, most_connections=1)
    try:
        entries: Any = client.acl_log()
        return list(entries)
    except redis.RedisError:
        return []  # hosted ones refuse it, and so do users with few rights
    finally:
        client.close()
