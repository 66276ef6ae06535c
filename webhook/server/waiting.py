"""The connections that wait for a request: they hold no thread, only a file descriptor and the beginning of a head."""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from enum import IntEnum
from ipaddress import IPv6Address, ip_network
from typing import Generic, Protocol, TypeVar

from webhook.http.client_address import Address, Network, client_address, is_in


class Stage(IntEnum):
    """What a connection waits for, in the order in which connections are closed to make room."""

    LINGERING = 0
    FIRST_HEAD = 1
    NEXT_HEAD = 2


class Client(Protocol):
    """A connection. `group`: the addresses that share a limit, None for no limit. `ends`: when its wait ends."""

    group: str | None
    ends: float
    stage: Stage


C = TypeVar("C", bound=Client)


class Waiting(Generic[C]):
    """Waiting connections by stage and age, in all and of each group of addresses."""

    def __init__(self) -> None:
        self._all: dict[Stage, OrderedDict[C, None]] = {stage: OrderedDict() for stage in Stage}
        self._of_group: dict[str, dict[Stage, OrderedDict[C, None]]] = {}

    def __iter__(self) -> Iterator[C]:
        return iter([client for clients in self._all.values() for client in clients])

    def add(self, client: C) -> None:
        """Add a connection, as the youngest of its stage."""
        self._all[client.stage][client] = None
        if client.group is not None:
            of_group = self._of_group.setdefault(client.group, {stage: OrderedDict() for stage in Stage})
            of_group[client.stage][client] = None

    def discard(self, client: C) -> None:
        """Remove a connection, if it waits."""
        self._all[client.stage].pop(client, None)
        if client.group is not None and (of_group := self._of_group.get(client.group)):
            of_group[client.stage].pop(client, None)
            if not any(of_group.values()):
                del self._of_group[client.group]

    def oldest(self, group: str | None = None) -> C | None:
        """Return the connection to close first, of this group or of all."""
        stages = self._all if group is None else self._of_group.get(group, {})
        return next((next(iter(clients)) for _, clients in sorted(stages.items()) if clients), None)

    def expired(self, now: float) -> list[C]:
        """Return the connections whose time has passed."""
        return [client for client in self if client.ends <= now]


_FORWARDED = re.compile(rb"\r\nx-forwarded-for:[ \t]*([^\r\n]*)", re.IGNORECASE)


def _network(address: Address) -> str:
    return str(ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address)


class AddressLimit:
    """The number of open connections of each group of addresses."""

    def __init__(self, most: int, proxies: Sequence[Network]) -> None:
        self._most = most
        self._proxies = proxies
        self._open: Counter[str] = Counter()

    def group(self, peer: str) -> str | None:
        """Return the group of a connected address: the address, or its /64 for IPv6. None if it has no limit.

        Our own proxies have none, because all clients share their addresses; neither has a Unix socket.
        """
        address = client_address(peer, "", ())
        if not self._most or address is None or is_in(address, self._proxies):
            return None
        return _network(address)

    def turn(self, group: str | None, head: bytearray) -> str:
        """Return whose turn a request is: its group, or behind our own proxies the address that they name."""
        if group is not None or not self._proxies:
            return group or ""
        found = _FORWARDED.findall(head)
        address = client_address(str(self._proxies[0][0]), b",".join(found).decode("latin-1"), self._proxies)
        return _network(address) if address else ""

    def open(self, group: str | None) -> bool:
        """Count a connection. Return whether the group has too many now."""
        if group is None:
            return False
        self._open[group] += 1
        return self.is_exceeded(group)

    def is_exceeded(self, group: str | None) -> bool:
        """Return whether the group has too many connections."""
        return group is not None and self._open[group] > self._most

    def close(self, group: str | None) -> None:
        """Count a connection less."""
        if group is not None:
            self._open[group] -= 1
            if not self._open[group]:
                del self._open[group]
