"""The users of both Redis servers, one a process with the rights it needs: `state.acl` and `broker.acl`."""

import secrets
from collections.abc import Mapping
from importlib.resources import files

#: Where a password belongs in the files.
_PLACE = ">PASSWORD"
_DEFAULT = "user default off"


def users(name: str) -> list[str]:
    """The users of `state` or `broker` that have a password, in their order."""
    return [line.split()[1] for line in _lines(name) if _PLACE in line]


def passwords(name: str) -> dict[str, str]:
    """A new one for each."""
    return {user: secrets.token_urlsafe(24) for user in users(name)}


def rendered(name: str, given: Mapping[str, str], owner: str | None = None) -> str:
    """The file as Redis reads it; Redis takes no comments. `owner`: a password of the default user, who may do all.

    Raises KeyError for a user without a password.
    """
    lines = [line.replace(_PLACE, f">{given[line.split()[1]]}") if _PLACE in line else line for line in _lines(name)]
    if owner:
        lines[lines.index(_DEFAULT)] = f"user default on >{owner} ~* &* +@all"
    return "".join(f"{line}\n" for line in lines)


def _lines(name: str) -> list[str]:
    text = (files("ops.access") / f"{name}.acl").read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
