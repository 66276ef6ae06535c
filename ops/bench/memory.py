"""The memory that processes and Redis use during a measurement."""

import time
from collections.abc import Iterator
from pathlib import Path

from jobs.connections.client import connect

#: Seconds between two samples.
INTERVAL = 0.5


def redis_bytes(url: str) -> int:
    """Return the bytes that Redis uses."""
    client = connect(url)
    try:
        return int(client.info("memory")["used_memory"])
    finally:
        client.close()


class Memory:
    """The resident memory of a process and its children in bytes: at first, and its peak."""

    def __init__(self, pid: int) -> None:
        self._pids = [pid, *_children(pid)]
        self.before = self.peak = self.now()
        self._sampled = time.monotonic()

    def sample(self) -> None:
        """Read the memory, at most once in INTERVAL seconds."""
        if time.monotonic() - self._sampled > INTERVAL:
            self._sampled = time.monotonic()
            self.peak = max(self.peak, self.now())

    def each(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the pieces on and sample the memory meanwhile."""
        for piece in pieces:
            self.sample()
            yield piece

    def now(self) -> int:
        """Return the resident memory."""
        return sum(_resident(pid) for pid in self._pids)


def _children(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]
    return [each for child in found for each in (child, *_children(child))]


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
