"""Whether the jobs' Redis still holds what it held: what is there, compared with what was seen of it. Pure decisions.

The record of the installation stands in the jobs' Redis. What a worker saw of it last is a `Sighting`; it is kept
outside, in the worker's memory and in a witness (jobs.store.witness). A Redis that comes back empty or older, or that
is another one, differs from a sighting, whatever the reason is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self


class Fate(StrEnum):
    """Whether the change that was the last one at a sighting is there."""

    KNOWN = "known"
    UNKNOWN = "unknown"  #: it is not, although older ones are
    GONE = "gone"  #: no change is there at all
    TRIMMED = "trimmed"  #: all that are kept are later: only counts can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What a worker saw of an installation: the number of its epoch, and how many jobs it had accepted.

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
        """Read the stored form; None where it is damaged."""
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
        """Describe it for people."""
        return f"installation {self.installation[:8]}, epoch {self.epoch}, {self.accepted:,} jobs accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the jobs' Redis holds now. `installation` is "" where there is no record of one.

    `round_at`: when a round of reconcile last began, 0: never. `has_jobs`: it holds jobs, with or without a record.
    `is_witness`: it holds a witness, as the broker does. `restarted`: it was restarted, and no worker has noticed yet.
    `lost`: why no work is accepted or handed out, "" while work goes on; `expected`: what should be there. `trusted`:
    sightings before that time are ignored. `fates`: of each sighting in question, with the number of jobs accepted
    after it.
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
    fates: tuple[tuple[Fate, int], ...] = ()

    @property
    def sighting(self) -> Sighting:
        """Return the sighting to remember."""
        return Sighting(
            installation=self.installation, epoch=self.epoch, accepted=self.accepted, last=self.last, at=self.now
        )


class Judgement(StrEnum):
    """What a comparison with earlier sightings showed."""

    SOUND = "sound"  #: all that was seen is there, or nothing was seen
    NEW = "new"  #: nothing is there, and nothing was seen: a first start
    OLDER = "older"  #: it went back to an earlier moment
    LOST = "lost"  #: the jobs are gone, or are another installation's


@dataclass(frozen=True, slots=True)
class Verdict:
    """`lost_jobs` were accepted and are gone, as far as is known, in `seconds`; `expected` is what was seen."""

    judgement: Judgement
    reason: str = ""
    expected: Sighting | None = None
    lost_jobs: int = 0
    seconds: float = 0.0


def judge(there: Standing, seen: Sequence[Sighting]) -> Verdict:
    """Compare what Redis holds with earlier sightings; `there.fates` has one fate for each."""
    held = [each for each in zip(seen, there.fates, strict=True) if each[0].at >= there.trusted]
    if not there.installation:
        return _without_record(there, [sighting for sighting, _ in held])
    own = [(sighting, fate) for sighting, fate in held if sighting.installation == there.installation]
    if held and not own:
        expected = held[0][0]
        return Verdict(
            Judgement.LOST,
            f"Redis holds {there.sighting.described}, but the workers know {expected.described}: it is another Redis "
            "than before, or two installations share one broker",
            expected,
        )
    older = [found for sighting, fate in own if (found := _older(there, sighting, *fate))]
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


def _older(there: Standing, sighting: Sighting, fate: Fate, accepted_since: int) -> Verdict | None:
    lost = max(0, sighting.accepted - (there.accepted - accepted_since))
    if fate in (Fate.KNOWN, Fate.TRIMMED) and lost == 0 and there.epoch >= sighting.epoch:
        return None
    seconds = max(0.0, (sighting.at - there.round_at) / 1e6)
    how_old = f"about {seconds:,.0f} s older" if there.round_at else "older"
    jobs = "1 accepted job" if lost == 1 else f"{lost:,} accepted jobs"
    reason = f"Redis came back {how_old} than the workers saw it; {jobs} may be lost"
    return Verdict(Judgement.OLDER, reason, sighting, lost, seconds)
