"""How often a key may call, and how often an address may guess.

Counted in this process alone, which is one of few (webhook.gunicorn_conf): what is held off is a producer that runs
wild, and then a look at Redis for each of its requests would be part of the trouble. By our own few lines: the memory
storage of the package `limits` starts a thread nearly each time, which took longer than a job's whole enqueueing.
"""

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_network
from threading import Lock
from typing import NamedTuple

from webhook.http.client_address import Address
from webhook.http.problems import ProblemError

#: BOOMERANG_RATE_LIMIT: no limit.
OFF = "off"
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
#: Those who are counted, and keys that were good lately, at most; the longest unheard of goes first.
_MOST = 10_000


class Rate(NamedTuple):
    """So many in such a time, which may come all at once."""

    amount: int
    every: str

    @property
    def seconds(self) -> float:
        """The time."""
        return _SECONDS[self.every]


#: Keys that were refused, from one address; a person who mistypes and a producer with an old key stay below it.
GUESSES = Rate(30, "minute")


def read_rates(text: str) -> list[Rate]:
    """`6000/minute; 100/second` as rates. Raises `ValueError`."""
    if text.strip() == OFF:
        return []
    found = [_RATE.fullmatch(part.strip()) for part in text.split(";")]
    if None in found:
        raise ValueError(text)
    return [Rate(int(each[1]), each[2]) for each in found if each]


class Buckets:
    """A leaky bucket for each who is counted, kept as the time at which it is empty (GCRA). `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty_at: OrderedDict[tuple[Rate, str], float] = OrderedDict()
        self._lock = Lock()

    def wait(self, rate: Rate, who: str, *, count: bool = True) -> float:
        """Seconds to wait until there is room for one more; 0: now, and with `count` it is counted."""
        now = self._clock()
        with self._lock:
            full_at = max(self._empty_at.get((rate, who), now), now) + rate.seconds / rate.amount
            # Sums of fractions of a second are not exact.
            wait = full_at - now - rate.seconds * (1 + 1e-9)
            if wait > 0:
                return wait
            if count:
                self._empty_at[rate, who] = full_at
                self._empty_at.move_to_end((rate, who))
                if len(self._empty_at) > _MOST:
                    self._empty_at.popitem(last=False)
        return 0.0


class Rates:
    """The counts. `rates`: what each key may do; all of them hold."""

    def __init__(self, rates: Sequence[Rate], clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = list(rates)
        self._calls, self._guesses = Buckets(clock), Buckets(clock)
        self._trusted: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._lock = Lock()

    def count(self, key: str) -> None:
        """Count a request under this key. Raises a problem, 429, for one too many."""
        for rate in self._rates:
            if wait := self._calls.wait(rate, key):
                raise _too_often(wait, f"This key may make {rate.amount:,} requests in a {rate.every}.")

    def may_guess(self, address: Address | None, digest: bytes) -> None:
        """Raise a problem, 429, where so many keys from that address were refused that no other is looked at.

        One that was good from there lately is no guess: whoever shares the address with a guesser goes on working.
        """
        whose = _network(address)
        if (whose, digest) not in self._trusted and (wait := self._guesses.wait(GUESSES, whose, count=False)):
            raise _too_often(wait, "Too many keys were refused from your address.")

    def refused(self, address: Address | None) -> None:
        """Count a key that was refused."""
        self._guesses.wait(GUESSES, _network(address))

    def accepted(self, address: Address | None, digest: bytes) -> None:
        """Remember that this key is good from there."""
        pair = (_network(address), digest)
        with self._lock:
            self._trusted[pair] = None
            self._trusted.move_to_end(pair)
            if len(self._trusted) > _MOST:
                self._trusted.popitem(last=False)


def _too_often(wait: float, said: str) -> ProblemError:
    return ProblemError(429, f"{said} Send this again later.", headers={"Retry-After": str(math.ceil(wait))})


def _network(address: Address | None) -> str:
    """Whoever has one IPv6 address has all of its /64."""
    return str(ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address)
