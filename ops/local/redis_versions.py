"""Which releases of Redis and Valkey the service supports, and which have known security holes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
#: The first line of `redis-server --version`.
_BANNER = re.compile(r"\b(Redis|Valkey) server v=(\S+)", re.IGNORECASE)
#: Series -> its first release without CVE-2024-46981, CVE-2025-49844 and those that were found between them.
_FIXED: Mapping[str, Mapping[tuple[int, int], int]] = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
#: The oldest series that the scripts need and that the tests run against.
OLDEST = (6, 2)
_HOLES = "CVE-2025-49844 and others, through which a Lua script can execute arbitrary code"


@dataclass(frozen=True, slots=True)
class ServerVersion:
    """A server product with its version."""

    product: str
    numbers: tuple[int, int, int]

    @classmethod
    def from_banner(cls, text: str) -> Self | None:
        """Parse the output of `redis-server --version`; None for anything else."""
        found = _BANNER.search(text)
        return cls._read(found[1].title(), found[2]) if found else None

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Self | None:
        """Parse the reply to INFO. Valkey's also contains the Redis version that it is compatible with."""
        if "valkey_version" in info:
            return cls._read("Valkey", str(info["valkey_version"]))
        return cls._read("Redis", str(info.get("redis_version", "")))

    @classmethod
    def _read(cls, product: str, text: str) -> Self | None:
        found = _NUMBERS.match(text)
        return cls(product, (int(found[1]), int(found[2]), int(found[3] or 0))) if found else None

    @property
    def supported(self) -> bool:
        """Whether the service can run on it."""
        return self.numbers[:2] >= OLDEST

    @property
    def warning(self) -> str:
        """Why the release is unsafe; empty if no security hole is known."""
        fixed, series = _FIXED[self.product], self.numbers[:2]
        if series > max(fixed):
            return ""
        if series in fixed:
            return "" if self.numbers[2] >= fixed[series] else f"{self} has known security holes ({_HOLES})"
        return f"{self} has known security holes ({_HOLES}), and no release of {series[0]}.{series[1]} fixes them"

    @property
    def remedy(self) -> str:
        """What to do about the warning. A distribution may have fixed the holes without a new version number."""
        fixed, series = _FIXED[self.product], self.numbers[:2]
        newer = min((each for each in fixed if each >= series), default=series)
        upgrade = f"{newer[0]}.{newer[1]}.{fixed.get(newer, 0)}"
        return f"Use {upgrade} or newer, or check that your distribution has patched this one, as Debian does."

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.numbers))}"
