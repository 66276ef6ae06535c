"""Detection of lost jobs: pure decisions from the present state of the jobs' Redis and earlier sightings of it.

The record of the installation is in the jobs' Redis. A `Sighting` is what a worker last saw of it. Sightings are stored
elsewhere: in the worker's memory, and in a witness (jobs.store.witness). If Redis comes back empty or older, or is
another one, it differs from the sightings, whatever the cause.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple, Self

#: What stands in the record of the installation in place of a loss, once ids hold the producer's name. Version 1 takes
#: it for a loss, so that no process of it accepts or hands out work any more.
NEWER_ONLY = "a newer version of Boomerang accepts jobs here, so update this process (and do not run recover)"


def loss_in(stored: str | None) -> str:
    """Return why no work is accepted or handed out, from the record of the installation; "" while work continues."""
    return "" if stored in (None, NEWER_ONLY) else stored


class Fate(StrEnum):
    """The fate of the change that was the last one at a sighting."""

    KNOWN = "known"
    UNKNOWN = "unknown"  #: it is missing, although older ones exist
    GONE = "gone"  #: no change exists
    TRIMMED = "trimmed"  #: all stored changes are later: only counts can tell


class Trace(NamedTuple):
    """What Redis still has of a sighting.

    `accepted_since`: jobs accepted after its last change. `intact_until`: when the latest change before it that is
    still there was made, in µs; 0: unknown.
    """

    fate: Fate
    accepted_since: int = 0
    intact_until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The state of an installation as a worker saw it: the number of its epoch, and of accepted jobs.

    `last`: the id of the last change in the stream of changes. `at`: when, in µs of the jobs' Redis.
    """

    installation: str
    epoch: int = 0
    accepted: int = 0
    last: str = ""
    at: int = 0

    def to_json(self) -> str:
        """Return the form that the witness stores."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Read the stored form; None if it is damaged."""
        try:
            fields = json.loads(text)
            return cls(
                installation=str(fields["installation"]),
                epoch=int(fields["epoch"]),
                accepted=int(fields["accepted"]),
                last=str(fields["last"]),
                at=int(fields["at"]),
            )
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def described(self) -> str:
        """The sighting as text for messages."""
        return f"installation {self.installation[:8]}, epoch {self.epoch}, {self.accepted:,} jobs accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The present state of the jobs' Redis. `installation` is "" if there is no record of one.

    `round_at`: when a round of reconcile last began, 0: never. `has_jobs`: it holds jobs, with or without a record.
    `is_witness`: it holds a witness, as the broker does. `restarted`: it was restarted, and no worker has noticed yet.
    `lost`: why no work is accepted or handed out, "" while work continues; `expected`: the sighting that it lacks.
    `trusted`: sightings before that time are ignored. `traces`: one for each sighting in question.
    """

    now: int
    installation: str = ""
    epoch: int = 0
    accepted: int = 0
    last: str = ""
    round_at: int = 0
    has_jobs: bool = False
    is_witness: bool = False
    restarted: bool = False
    lost: str = ""
    expected: Sighting | None = None
    trusted: int = 0
    traces: tuple[Trace, ...] = ()

    @property
    def sighting(self) -> Sighting:
        """Return the sighting to remember."""
        return Sighting(
            installation=self.installation, epoch=self.epoch, accepted=self.accepted, last=self.last, at=self.now
        )


class Judgement(StrEnum):
    """What a comparison with earlier sightings showed."""

    SOUND = "sound"  #: nothing is missing, or there are no sightings
    NEW = "new"  #: there is no installation, and there are no sightings: a first start
    OLDER = "older"  #: Redis went back to an earlier moment
    LOST = "lost"  #: the jobs are gone, or are another installation's


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a comparison. `expected`: the sighting that differs.

    `lost_jobs`: accepted jobs that are missing, as far as is known; `seconds`: the period that is lost.
    """

    judgement: Judgement
    reason: str = ""
    expected: Sighting | None = None
    lost_jobs: int = 0
    seconds: float = 0.0


def judge(there: Standing, seen: Sequence[Sighting]) -> Verdict:
    """Compare the present state with earlier sightings; `there.traces` has one for each."""
    held = [each for each in zip(seen, there.traces, strict=True) if each[0].at >= there.trusted]
    if not there.installation:
        return _without_record(there, [sighting for sighting, _ in held])
    same = [(sighting, trace) for sighting, trace in held if sighting.installation == there.installation]
    if held and not same:
        expected = held[0][0]
        return Verdict(
            Judgement.LOST,
            f"Redis holds {there.sighting.described}, but the workers know {expected.described}: it is another Redis "
            "than before, or two installations share one broker",
            expected,
        )
    older = [found for sighting, trace in same if (found := _older(there, sighting, trace))]
    return max(older, key=lambda each: (each.lost_jobs, each.seconds), default=Verdict(Judgement.SOUND))


def _without_record(there: Standing, seen: Sequence[Sighting]) -> Verdict:
    expected = max(seen, key=lambda each: each.at, default=None)
    if there.is_witness:
        return Verdict(
            Judgement.LOST,
            "Redis holds what the broker's Redis should hold, and no jobs: BOOMERANG_REDIS_URL leads to the broker",
            expected,
        )
    if expected is None:
        return Verdict(Judgement.NEW)
    what = "holds jobs, but the record of the installation is gone or damaged" if there.has_jobs else "is empty"
    lost = 0 if there.has_jobs else expected.accepted
    return Verdict(Judgement.LOST, f"Redis {what}; the workers know {expected.described}", expected, lost)


def _older(there: Standing, sighting: Sighting, trace: Trace) -> Verdict | None:
    lost = max(0, sighting.accepted - (there.accepted - trace.accepted_since))
    if trace.fate in (Fate.KNOWN, Fate.TRIMMED) and lost == 0 and there.epoch >= sighting.epoch:
        return None
    intact_until = max(there.round_at, trace.intact_until)
    seconds = max(0.0, (sighting.at - intact_until) / 1e6)
    how_old = f"about {seconds:,.0f} s older" if intact_until else "older"
    jobs = "1 accepted job" if lost == 1 else f"{lost:,} accepted jobs"
    reason = f"Redis came back {how_old} than the workers saw it; {jobs} may be lost"
    return Verdict(Judgement.OLDER, reason, sighting, lost, seconds)
