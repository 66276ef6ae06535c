"""The order in which requests get the threads of a pool: addresses in turn, each of them in the order of arrival.

In one queue for all, an address that sends many requests would make all others wait for them.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor


class Turns:
    """The turns of one pool of `amount` threads. Only the event loop may use it."""

    def __init__(self, threads: Executor, amount: int) -> None:
        self._threads = threads
        self._free = amount
        self._waiting: OrderedDict[str, deque[Callable[[Executor], object]]] = OrderedDict()

    def take(self, group: Callable[[], str], start: Callable[[Executor], object]) -> None:
        """Start a request as soon as it is the turn of its group. The group is only asked for if it has to wait."""
        if self._free > 0:
            self._free -= 1
            start(self._threads)
        else:
            self._waiting.setdefault(group(), deque()).append(start)

    def give_back(self) -> None:
        """Give a thread back, for the next request in turn. Call it once for each request that was started."""
        if not self._waiting:
            self._free += 1
            return
        group, requests = self._waiting.popitem(last=False)
        start = requests.popleft()
        if requests:
            self._waiting[group] = requests
        start(self._threads)

    def close(self) -> None:
        """Start no further requests."""
        self._waiting.clear()
        self._threads.shutdown(wait=False)
