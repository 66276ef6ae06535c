"""How often a key may call, and how often an address may guess.

Counted in this process alone, which is one of few (webhook.gunicorn_conf): what is held off is a producer that runs
wild, and then a look at Redis for each of its requests would be part of the trouble.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from ipaddress import IPv6Address, ip_network
from threading import Lock

from limits import RateLimitItem, parse, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from webhook.addresses import Address
from webhook.problems import ProblemError

#: BOOMERANG_RATE_LIMIT: no limit.
OFF = "off"
#: Keys that were refused, from one address; a person who mistypes and a producer with an old key stay below it.
GUESSES = parse("30/minute")
#: Keys and addresses that were together good lately.
_TRUSTED = 4_096


def read_rates(text: str) -> list[RateLimitItem]:
    """`6000/minute; 100/second` as limits. Raises `ValueError`."""
    return [] if text.strip().lower() == OFF else parse_many(text)


class Rates:
    """The counts. `rates`: what each key may do; all of them hold."""

    def __init__(self, rates: Sequence[RateLimitItem]) -> None:
        self._rates = list(rates)
        self._trusted: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def _counter(self) -> SlidingWindowCounterRateLimiter:
        # It has a thread of its own: made in the process that counts, not before a fork.
        return SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, key: str) -> None:
        """Count a request under this key. Raises a problem, 429, for one too many."""
        for rate in self._rates:
            if not self._counter.hit(rate, "key", key):
                raise self._too_often(rate, "key", key, f"This key may make {_told(rate)}.")

    def may_guess(self, address: Address | None, digest: bytes) -> None:
        """Raise a problem, 429, where so many keys from that address were refused that no other is looked at.

        One that was good from there lately is no guess: whoever shares the address with a guesser goes on working.
        """
        whose = _network(address)
        if (whose, digest) in self._trusted or self._counter.test(GUESSES, "guess", whose):
            return
        raise self._too_often(GUESSES, "guess", whose, "Too many keys were refused from your address.")

    def refused(self, address: Address | None) -> None:
        """Count a key that was refused."""
        self._counter.hit(GUESSES, "guess", _network(address))

    def accepted(self, address: Address | None, digest: bytes) -> None:
        """Remember that this key is good from there."""
        pair = (_network(address), digest)
        with self._lock:
            self._trusted[pair] = None
            self._trusted.move_to_end(pair)
            if len(self._trusted) > _TRUSTED:
                self._trusted.popitem(last=False)

    def _too_often(self, rate: RateLimitItem, *who: str) -> ProblemError:
        *of, said = who
        wait = max(1, math.ceil(self._counter.get_window_stats(rate, *of).reset_time - time.time()))
        return ProblemError(429, f"{said} Send this again later.", headers={"Retry-After": str(wait)})


def _network(address: Address | None) -> str:
    """Whoever has one IPv6 address has all of its /64."""
    return str(ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address)


def _told(rate: RateLimitItem) -> str:
    every = f"{rate.multiples} {rate.GRANULARITY.name}s" if rate.multiples > 1 else rate.GRANULARITY.name
    return f"{rate.amount:,} requests in a {every}"
