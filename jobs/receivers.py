"""Receivers of notifications: the limits of each, and its circuit breaker. The scripts use these numbers.

A receiver is the host of `callback_url`s, with its port unless it is the scheme's own, as one producer uses it. So no
producer can open the breaker of another one, or use its places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

#: Failures in a row after which the breaker opens. A receiver that has not accepted a notification since its last
#: failure never has more requests under way than are left of these.
FAILURES_TO_OPEN = 5
#: Most requests under way to one receiver that accepts them.
MOST_TO_ONE = 16
#: Seconds until a place counts as free that a killed worker held. More than a request takes (worker.http.outgoing).
LEASE = 30.0
#: Seconds for which the breaker is open at first, and at most: doubled with each failed probe.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 3600.0
#: Seconds after which a waiting notification is checked again, and the further seconds for each that waits there.
RECHECK, RECHECK_EACH, LONGEST_RECHECK = 30.0, 0.05, 3600.0
#: Seconds for which a receiver is remembered after its last answer, and how many of one producer.
KEPT, MOST_KEPT = 30 * 24 * 3600.0, 1000


class BeginOutcome(StrEnum):
    """Of `begin_notification`."""

    GRANTED = "granted"  #: send it now
    WAITS = "waits"  #: all places are taken: a worker that ends a notification gets its id
    OPEN = "open"  #: the receiver's circuit breaker is open
    DISABLED = "disabled"  #: the receiver has failed for too long
    REFUSED = "refused"  #: a stale fence, it is not owed, or another worker sends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Whether a notification may be sent now. `pause`: seconds for which the breaker stays open."""

    outcome: BeginOutcome
    owner: str
    receiver: str
    pause: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationLoad:
    """How busy notifications are, without names of receivers, of which there may be any number.

    `to_busiest`: of those under way, to the receiver that has most. `waiting_producers`: those with a notification that
    waits for a place. `open_breakers`: receivers whose circuit breaker is open.
    """

    under_way: int
    to_busiest: int
    waiting_producers: int
    open_breakers: int


def receiver_of(url: str) -> str:
    """Return the receiver of a valid callback_url: its host, with a port that is not the scheme's own."""
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    return host if parts.port in (None, _PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


_PORTS = {"http": 80, "https": 443}


def constants() -> str:
    """Return the numbers above as Lua constants, times in µs."""
    return (
        f"local RECEIVER_FAILURES={FAILURES_TO_OPEN}\nlocal MOST_TO_ONE={MOST_TO_ONE}\n"
        f"local NOTIFICATION_LEASE={LEASE * 1e6:.0f}\nlocal RECEIVER_KEPT={KEPT * 1e3:.0f}\n"
        f"local RECEIVER_PAUSE={FIRST_PAUSE * 1e6:.0f}\nlocal LONGEST_RECEIVER_PAUSE={LONGEST_PAUSE * 1e6:.0f}\n"
        f"local RECEIVERS_KEPT={MOST_KEPT}\n"
        f"local WAITING_RECHECK={RECHECK * 1e6:.0f}\nlocal WAITING_RECHECK_EACH={RECHECK_EACH * 1e6:.0f}\n"
        f"local LONGEST_WAITING_RECHECK={LONGEST_RECHECK * 1e6:.0f}\n"
    )


def read_turn(receiver: str, answer: Sequence[str | int]) -> Turn:
    """Read the answer of `begin_notification`."""
    outcome, owner, pause = answer
    return Turn(outcome=BeginOutcome(str(outcome)), owner=str(owner), receiver=receiver, pause=int(pause) / 1e6)
