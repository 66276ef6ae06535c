"""The users of both Redis servers, one for each process, with the rights it needs: `state.acl`, `broker.acl`."""

import secrets
from collections.abc import Mapping
from pathlib import Path

#: The ACL files, and `start.sh`, which inserts the passwords and starts Redis in containers and local stacks.
FOLDER = Path(__file__).parent
#: What the names of producers' queues begin with, for the rights of producers and Flower at the broker.
PRODUCER_QUEUES = "BOOMERANG_PRODUCER_QUEUES"
#: Patterns of the queues and exchanges to which workers send what follows a job, for their rights at the broker.
LINK_QUEUES = "BOOMERANG_LINK_QUEUES"
#: The placeholder of a password in the files.
_PLACE = ">PASSWORD"


def users(name: str) -> list[str]:
    """Return the users of `state` or `broker` that have a password, in the order of the file."""
    lines = (FOLDER / f"{name}.acl").read_text("utf-8").splitlines()
    return [line.split()[1] for line in lines if line.startswith("user ") and _PLACE in line]


def passwords(name: str) -> dict[str, str]:
    """Generate a password for each of these users."""
    return {user: secrets.token_urlsafe(24) for user in users(name)}


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables by which `start.sh` reads the passwords."""
    return {f"BOOMERANG_REDIS_PASSWORD_{user.upper()}": password for user, password in given.items()}


def command(name: str, *options: str) -> tuple[str, ...]:
    """Return the command that starts a Redis with the users of `state` or `broker`. `options`: of redis-server."""
    return ("sh", str(FOLDER / "start.sh"), name, *options)
