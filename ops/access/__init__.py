"""The users of both Redis servers, one a process with the rights it needs: `state.acl` and `broker.acl`."""

import secrets
from collections.abc import Mapping
from pathlib import Path

#: The files of users, and `start.sh`, which puts the passwords in and starts Redis, in containers and on one's machine.
FOLDER = Path(__file__).parent
#: Where a password belongs in the files.
_PLACE = ">PASSWORD"


def users(name: str) -> list[str]:
    """The users of `state` or `broker` that have a password, in their order."""
    lines = (FOLDER / f"{name}.acl").read_text("utf-8").splitlines()
    return [line.split()[1] for line in lines if line.startswith("user ") and _PLACE in line]


def passwords(name: str) -> dict[str, str]:
    """A new one for each."""
    return {user: secrets.token_urlsafe(24) for user in users(name)}


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """Passwords as `start.sh` wants them: by environment variable."""
    return {f"BOOMERANG_REDIS_PASSWORD_{user.upper()}": password for user, password in given.items()}


def command(name: str, *options: str) -> tuple[str, ...]:
    """What starts a Redis with the users of `state` or `broker`; `options`: those of redis-server."""
    return ("sh", str(FOLDER / "start.sh"), name, *options)
