"""Check the kernel under the jobs' Redis, if Redis runs on the same machine as this process."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from jobs.connections.client import connect
from ops.doctor.check import Finding, ok, warning

_SUBJECT = "vm.overcommit_memory"
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_ALWAYS = "1"


@dataclass(frozen=True, slots=True)
class Machine:
    """What identifies a machine, and how its kernel allocates memory."""

    #: in the form of Redis's INFO: system, release, architecture
    system: str
    #: bytes
    memory: int
    #: "0", "1" or "2"; None if the kernel has no such setting
    overcommit: str | None


def this_machine() -> Machine:
    """Return the machine of this process. A container shows the values of its host."""
    name = os.uname()
    try:
        overcommit = _OVERCOMMIT.read_text("ascii").strip()
    except OSError:
        overcommit = None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(f"{name.sysname} {name.release} {name.machine}", memory, overcommit)


def check_machine(url: str, machine: Machine, *, local: bool = False) -> Iterator[Finding]:
    """Check that Redis can fork while it uses much memory. No finding if Redis runs on another machine.

    `local`: Redis belongs to a stack of `boomerang-server up`, which is small.
    """
    client = connect(url, most_connections=1)
    try:
        info: Mapping[str, Any] = client.info()
    except redis.RedisError:
        return  # check_redis reports it
    finally:
        client.close()
    here = (info.get("os"), info.get("total_system_memory")) == (machine.system, machine.memory)
    if not here or machine.overcommit is None:
        return
    if machine.overcommit == _ALWAYS:
        yield ok(_SUBJECT, "1: Redis can fork to rewrite its append-only file")
    elif local:
        yield ok(_SUBJECT, f"{machine.overcommit}: enough for a local stack; set it to 1 in production")
    else:
        remedy = (
            f"Run sysctl {_SUBJECT}=1 on this machine, and write it to /etc/sysctl.d: without it Redis cannot rewrite "
            "its append-only file once it holds about half of the memory."
        )
        yield warning(_SUBJECT, f"{machine.overcommit} on the machine of Redis", remedy)
