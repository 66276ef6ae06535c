"""Reviews: what people think of the outputs of jobs. They exist only where somebody has reviewed something."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jobs.decoding import decoding
from jobs.fields import printable
from jobs.units import from_micros

#: Characters of a note.
LONGEST_NOTE = 300


class Verdict(StrEnum):
    """Whether an output is good enough."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Mark(StrEnum):
    """What outputs can be selected by."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    STARRED = "starred"
    UNREVIEWED = "unreviewed"  #: without a verdict


#: Mark → its letter in Redis. What has no mark has no letter.
LETTERS: Mapping[Mark, str] = {Mark.ACCEPTED: "a", Mark.REJECTED: "r", Mark.STARRED: "s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """The review of an output. `output`: its number, from 0; `by`: the id of the reviewer's key."""

    output: int
    verdict: Verdict | None = None
    starred: bool = False
    note: str = ""
    by: str
    at: datetime

    @property
    def marks(self) -> frozenset[Mark]:
        """Its marks."""
        return marks(self.verdict, starred=self.starred)


def marks(verdict: Verdict | None, *, starred: bool) -> frozenset[Mark]:
    """Return the marks of an output, by which it is selected."""
    found = Mark(verdict) if verdict else Mark.UNREVIEWED
    return frozenset({found, Mark.STARRED} if starred else {found})


def is_selected(review: Review | None, wanted: Collection[Mark]) -> bool:
    """Return whether an output has one of these marks; without marks, every output is selected."""
    own = review.marks if review else frozenset({Mark.UNREVIEWED})
    return not wanted or not own.isdisjoint(wanted)


def letters(verdict: Verdict | None, *, starred: bool) -> str:
    """Return the letters of the marks that a review sets."""
    own = marks(verdict, starred=starred)
    return "".join(letter for mark, letter in LETTERS.items() if mark in own)


def read_reviews(job_id: str, stored: Mapping[str, str]) -> dict[int, Review]:
    """Deserialize the stored reviews of a job, by output. Raises `RecordDamaged`."""
    found = {}
    with decoding(f"the reviews of job {printable(job_id)}"):
        for number, text in stored.items():
            own, at, by, note = json.loads(text)
            verdict = next((each for each in Verdict if LETTERS[Mark(each)] in own), None)
            found[int(number)] = Review(
                output=int(number),
                verdict=verdict,
                starred=LETTERS[Mark.STARRED] in own,
                note=str(note),
                by=str(by),
                at=from_micros(at),
            )
    return dict(sorted(found.items()))


def constants() -> str:
    """Return the constants of the scripts."""
    return f"local MARKS='{''.join(LETTERS.values())}'\n"
