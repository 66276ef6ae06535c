"""The queues and exchanges to which the worker may send tasks that follow a producer's task (BOOMERANG_LINK_QUEUES).

The worker may write to queues to which a producer may not. Without this list, a link would reach them.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from jobs.connections.rabbitmq import place
from jobs.errors import DestinationRefused


class LinkQueues:
    """A list of patterns of names, in which `*` stands for any text and `?` for one character."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def check(self, exchange: str, routing_key: str, queues: Iterable[str] = ()) -> None:
        """Raise `DestinationRefused` unless a message may go there.

        The default exchange ('') routes to the queue of that name. `queues`: those that another exchange routes to,
        where they are known.
        """
        refused = [name for name in (exchange or routing_key, *queues) if not self._allows(name)]
        if not refused:
            return
        where = place(exchange, routing_key)
        if refused != [exchange or routing_key]:
            where += f", which leads to queue {refused[-1]!r}"
        allowed = ", ".join(self._patterns) or "no name"
        raise DestinationRefused(
            f"this service may not send to {where}. It may send to {allowed}: the operator's setting "
            "BOOMERANG_LINK_QUEUES"
        )

    def _allows(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)
