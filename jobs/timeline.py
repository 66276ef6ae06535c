"""The timeline of a job: what happened to it, and when, as its record keeps it in a few bytes.

The record holds events as text, one after another, oldest first. Redis appends them (lua/shared/timeline.lua). Each is
a letter (`Event`); the milliseconds since the job was accepted, in hex, of the last time; who or what caused it, as a
letter (`CAUSES`) or as a name in brackets; and, where an event came several times, `*` and how often, in hex:
`A3f2S40eP602L2d12*25C7b32k`. Two fields hold the text: `timeline`, and `timeline_before` with what no longer
fits into it. Old repeats are merged into their last one, so the length is bounded.

What other fields tell is not in the text: when the job was accepted, and when its results were saved.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.job import Job
from jobs.states import State

#: Bytes of each of the two fields. Redis stores a hash compactly while none of its values is longer than 64 bytes.
LONGEST = 60
#: Characters of a name.
LONGEST_NAME = 24


class Event:
    """The letters of events. The scripts name them `EVENT.admitted`."""

    ADMITTED = "A"
    SUBMITTING = "S"  #: a worker has claimed it
    IN_PROGRESS = "P"  #: the provider has it
    IN_DOUBT = "I"
    QUEUED = "Q"  #: it waits again: the same attempt, which was not created
    NEXT_ATTEMPT = "N"  #: the attempt has failed, and the next one waits
    CALLBACK = "K"  #: a callback came that did not settle it
    LOOKED_UP = "L"  #: a look-up or poll settled nothing
    COMPLETED = "C"
    FAILED = "F"
    CANCELLED = "X"
    EXPIRED = "E"
    LATE_RESULT = "R"  #: a result came after the job was cancelled
    OVER = "O"  #: the attempt of a cancelled or expired job is over at the provider, too
    PAUSED = "H"
    RESUMED = "J"
    RETRIED = "Y"
    CORRECTED = "Z"
    SETTLED = "W"  #: a person named the provider's task of it
    COST_SETTLED = "B"
    NOTIFIED = "D"
    NOTIFICATION_FAILED = "T"
    CELERY_FINISHED = "M"  #: the parked Celery messages were finished
    DELIVERY_GIVEN_UP = "G"
    SAVE_GIVEN_UP = "U"


#: `settled_by` → letter. Hex digits stand for milliseconds.
CAUSES = {"callback": "k", "poll": "p", "submit": "s"}
#: State that a job enters → its event.
OF_STATE = {state: getattr(Event, state.name) for state in State}
#: Events that only the view has, which knows them from other fields.
ACCEPTED, SAVED = "accepted", "saved"
_NAMES = {letter: name.lower() for name, letter in vars(Event).items() if name.isupper()}
_CAUSES = {letter: cause for cause, letter in CAUSES.items()}
#: Names as a view has them.
NAMES = (ACCEPTED, *_NAMES.values(), SAVED)
_EVENT = re.compile(r"([A-Z])([0-9a-f]{1,13})(?:([g-z])|\(([^()]*)\))?(?:\*([0-9a-f]{1,8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Happened:
    """An event. `count`: how often it came; `at`: the last time. `by`: whose key or which person caused it.

    `cause`: of an end or a next attempt: callback, poll or submit.
    """

    at: datetime
    event: str
    count: int = 1
    by: str | None = None
    cause: str | None = None


def constants() -> str:
    """Return the Lua constants of shared/timeline.lua."""
    of_state = " ".join(f"{state}={letter}" for state, letter in OF_STATE.items())
    causes = " ".join(f"{cause}={letter}" for cause, letter in CAUSES.items())
    return (
        f"local EVENTS_OF_STATES='{of_state}'\nlocal CAUSES='{causes}'\n"
        f"local LONGEST_TIMELINE={LONGEST}\nlocal LONGEST_NAME={LONGEST_NAME}\n"
    )


def decode(created_at: datetime, text: str) -> Iterator[Happened]:
    """Yield the events of a stored text, oldest first. Skips what no version writes."""
    for letter, passed, cause, by, count in _EVENT.findall(text):
        try:
            at = created_at + timedelta(milliseconds=int(passed, 16))
        except OverflowError:
            continue
        if letter in _NAMES:
            yield Happened(at, _NAMES[letter], int(count or "1", 16), by or None, _CAUSES.get(cause))


def timeline_of(job: Job) -> tuple[Happened, ...]:
    """Return what is known of a job's past, oldest first.

    Of a record that an earlier version wrote that is when it was accepted, last claimed, and when it ended.
    """
    events = [Happened(job.created_at, ACCEPTED), *decode(job.created_at, job.timeline)]
    known = {each.event for each in events}
    if job.started_at and "submitting" not in known:
        events.append(Happened(job.started_at, "submitting", job.starts))
    if job.ended_at and job.state.value not in known:
        events.append(Happened(job.ended_at, job.state.value, cause=job.settled_by))
    if job.result and job.result.saved:
        events.append(Happened(job.result.saved.at, SAVED))
    return tuple(sorted(events, key=lambda each: each.at))
