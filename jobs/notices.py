"""Notices to people: what they are about, and how often one may be sent."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: Seconds after which a claimed notice that was not sent is due again.
LEASE = 120.0
#: Seconds between two messages to one target: what comes meanwhile is in the next one.
SPACING = 60.0
#: Seconds for which nothing more is sent about the same thing, even if it ended and began anew.
CALM = 900.0
#: Seconds after which a notice is repeated while its cause lasts.
REMIND = 24 * 3600.0
#: Seconds for which the end of a batch is announced, if that failed so far; and for which sent notices are remembered.
ENDS_ANNOUNCED, KEPT = 24 * 3600.0, 7 * 24 * 3600.0
#: Seconds after which a batch that waits for an approval, and one that is paused on request, is reported. A person who
#: approves at once needs no notice, and one who pauses a batch knows of it until the pause is forgotten.
WAITS_FOR, FORGOTTEN_AFTER = 60.0, 4 * 3600.0
#: Batches of one kind that are reported at once.
MOST_BATCHES = 1_000
#: Ends of batches that are kept.
ENDS_KEPT = 500


class NoticeClass(StrEnum):
    """What a notice is about."""

    BATCH_DONE = "batch_done"  #: all jobs of a batch have ended
    BATCH_PAUSED = "batch_paused"  #: a batch is paused at its max_cost
    BATCH_WAITS = "batch_waits"  #: a batch waits for an approval: it came paused, or its pilot is over
    BATCH_FORGOTTEN = "batch_forgotten"  #: a batch has been paused on request for long, and jobs of it wait
    CAP_REACHED = "cap_reached"  #: a producer's budget for the day is used up or reserved
    PROVIDER_AWAY = "provider_away"  #: a provider account does not answer, or refuses, so that no job is submitted
    RECEIVER_DISABLED = "receiver_disabled"  #: a receiver of notifications failed for too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A cause that lasts. `since`: when it began. `remind`: seconds after which a notice is sent again."""

    about: NoticeClass
    subject: str
    since: datetime
    what: str = ""
    do: str = ""
    remind: float = REMIND

    @property
    def name(self) -> str:
        """The name under which the store remembers it."""
        return f"{self.about}|{self.subject}"


def constants() -> str:
    """Return the numbers that the Lua verbs use, times in µs."""
    return f"local NOTICES_KEPT={KEPT * 1e6:.0f}\nlocal BATCH_ENDS_KEPT={ENDS_KEPT}\n"
