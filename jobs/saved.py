"""The saved results of a job, as its record describes them, and how far saving them has come.

A job's result holds them as JSON (jobs.result.Result), so they cost no key of their own and are forgotten with the job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.fields import Field
from jobs.units import from_micros, to_micros


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedOutput:
    """One output in the result store. `name`: of the object; `sha256`: of its bytes, in hexadecimal; `size`: bytes.

    `width` and `height`: pixels of an image; None where they are not known.
    """

    name: str
    sha256: str
    size: int
    content_type: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """All outputs of a job, in the order of its result, and when the last of them was stored.

    `removed_at`: when an operator removed them again; they no longer exist.
    """

    at: datetime
    outputs: tuple[SavedOutput, ...]
    removed_at: datetime | None = None

    def to_json(self) -> list[Any]:
        """Convert it to JSON values, without names: a million jobs store them."""
        rows = [[out.name, out.sha256, out.size, out.content_type, out.width, out.height] for out in self.outputs]
        at = int(to_micros(self.at))
        return [at if self.removed_at is None else [at, int(to_micros(self.removed_at))], *rows]

    @classmethod
    def from_json(cls, given: Sequence[Any]) -> "Saved":
        """Read what `to_json` made. Raises `ValueError` and `TypeError` for anything else."""
        if not isinstance(given, list) or not given:
            raise ValueError("its saved outputs are malformed")
        first, *rows = given
        times = first if isinstance(first, list) else [first]
        if len(times) not in (1, 2) or not all(type(each) is int for each in times):
            raise ValueError("its saved outputs have a malformed time")
        at, *removed = map(from_micros, times)
        return cls(at, tuple(map(_output, rows)), *removed)


def _output(row: Any) -> SavedOutput:
    name, sha256, size, content_type, width, height = row
    if not all(isinstance(text, str) for text in (name, sha256, content_type)):
        raise ValueError("a saved output has a value that is not text")
    if type(size) is not int or not all(each is None or type(each) is int for each in (width, height)):
        raise ValueError("a saved output has a size that is not a number")
    return SavedOutput(name=name, sha256=sha256, size=size, content_type=content_type, width=width, height=height)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveProgress:
    """How far saving a job's results has come, while they are not saved.

    `since`: when the result came that is to be saved. `tries`: failed ones so far, with the last `error`;
    `repeats`: how often in a row that came again. `next_at`: when it is tried next, or when the lease of the worker
    ends that tries it now. `given_up_at`: it is tried no more, and the job is on the list of unsaved results.
    """

    since: datetime | None = None
    tries: int = 0
    error: str | None = None
    repeats: int = 0
    next_at: datetime | None = None
    given_up_at: datetime | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "SaveProgress | None":
        """Read the progress from a record; None: nothing is to be saved, or it is saved."""
        get = fields.get
        if Field.SAVE_SINCE not in fields and Field.UNSAVED not in fields:
            return None
        return cls(
            since=_moment(get(Field.SAVE_SINCE)),
            tries=int(get(Field.SAVE_TRIES, 0)),
            error=get(Field.SAVE_ERROR),
            repeats=int(get(Field.SAVE_REPEATS, 0)),
            next_at=_moment(get(Field.SAVE_AT)),
            given_up_at=_moment(get(Field.UNSAVED)),
        )

    @property
    def owed(self) -> bool:
        """Whether the results are still to be saved."""
        return self.given_up_at is None


def _moment(micros: str | None) -> datetime | None:
    return None if micros is None else from_micros(micros)
