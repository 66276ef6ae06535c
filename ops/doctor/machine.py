"""The kernel on which the jobs' Redis runs, where that is the one on which this process runs."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from jobs.connections.client import connect
from ops.doctor.check import Finding, ok, warning

_ABOUT = "vm.overcommit_memory"
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_ALWAYS = "1"


@dataclass(frozen=True, slots=True)
class Machine:
    """What tells one machine from another, and how its kernel hands out memory."""

    #: as INFO says it: system, release, architecture
    system: str
    #: bytes
    memory: int
    #: "0", "1" or "2"; None where the kernel has no such setting
    overcommit: str | None


def this_machine() -> Machine:
    """The machine of this process. A container has its host's kernel, and so the same values."""
    name = os.uname()
    try:
        overcommit = _OVERCOMMIT.read_text("ascii").strip()
    except OSError:
        overcommit = None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(f"{name.sysname} {name.release} {name.machine}", memory, overcommit)


def look_at_machine(url: str, machine: Machine) -> Iterator[Finding]:
    """Whether Redis can fork while it holds much. Nothing, if it runs elsewhere: that kernel cannot be asked."""
    client = connect(url, most_connections=1)
    try:
        info: Mapping[str, Any] = client.info()
    except redis.RedisError:
        return  # look_at_redis reports it
    finally:
        client.close()
    here = (info.get("os"), info.get("total_system_memory")) == (machine.system, machine.memory)
    if not here or machine.overcommit is None:
        return
    if machine.overcommit == _ALWAYS:
        yield ok(_ABOUT, "1: Redis can fork to rewrite its append-only file")
    else:
        do = (
            f"Run sysctl {_ABOUT}=1 on this machine, and write it to /etc/sysctl.d: without it Redis cannot rewrite "
            "its append-only file once it holds about half of the memory."
        )
        yield warning(_ABOUT, f"{machine.overcommit} on the machine that Redis runs on", do)
