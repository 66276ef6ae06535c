"""Removal of saved results that are old, or have a label.

A sidecar stays when its outputs are removed, with the time of the removal: it says what was paid for. Every step is
safe to repeat: the sidecar changes last, so a removal that was killed is found again.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.blobs.blob import is_object_name
from jobs.blobs.bucket import Bucket
from jobs.decoding import UNREADABLE
from jobs.results.sidecar import CONTENT_TYPE, encode, read_sidecar
from jobs.results.sidecars import read_sidecars
from jobs.results.thumbnails import thumbnail_names

#: The audit log: who removed what.
_audit = logging.getLogger("boomerang.audit")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which results to remove: saved before `saved_before`, with all of `labels`."""

    saved_before: datetime
    labels: Mapping[str, str]

    def takes(self, body: Mapping[str, Any]) -> bool:
        """Return whether the results of a sidecar are to be removed."""
        labels = body.get("labels") or {}
        return (
            not body.get("removed_at")
            and datetime.fromisoformat(body["saved_at"]) < self.saved_before
            and all(labels.get(name) == value for name, value in self.labels.items())
        )


@dataclass(frozen=True, slots=True)
class Expired:
    """The results of one job. `names`: objects that only selected jobs have. `size`: their bytes.

    `thumbnails`: names that thumbnails of these objects have, whether they were made or not.
    """

    sidecar: str
    body: Mapping[str, Any]
    names: tuple[str, ...]
    size: int
    thumbnails: tuple[str, ...]

    @property
    def job(self) -> str:
        """The job's id."""
        return str(self.body["job"])

    @property
    def batch(self) -> str | None:
        """The job's batch."""
        return self.body.get("batch")

    @property
    def created_at(self) -> datetime:
        """When the job was created."""
        return datetime.fromisoformat(self.body["created_at"])


def find_expired(results: Bucket, selection: Selection) -> Iterator[Expired]:
    """Yield the results to remove. Names of kept objects are on disk meanwhile, so memory is bounded.

    Where names come from the content, several jobs share an object: it goes with the last of them.
    """
    with closing(sqlite3.connect("")) as kept:
        kept.execute("CREATE TABLE kept (name TEXT PRIMARY KEY) WITHOUT ROWID")
        for _, body in read_sidecars(results, results.list()):
            if body is not None and not body.get("removed_at") and not _takes(selection, body):
                kept.executemany("INSERT OR IGNORE INTO kept VALUES (?)", [(each.name,) for each in _outputs(body)])
        for blob, body in read_sidecars(results, results.list()):
            if body is not None and _takes(selection, body):
                gone = {
                    each.name: each
                    for each in _outputs(body)
                    if kept.execute("SELECT 1 FROM kept WHERE name = ?", (each.name,)).fetchone() is None
                }
                small = tuple(name for each in gone.values() for name in thumbnail_names(each.sha256))
                yield Expired(blob.name, body, tuple(gone), sum(each.size for each in gone.values()), small)


def remove(
    results: Bucket, expired: Expired, now: datetime, by: str, record: Callable[[str, datetime, datetime], object]
) -> bool:
    """Remove the results of one job. `record` changes its record first, so that no view offers a file that is gone.

    Returns False, and changes nothing, where the sidecar is no longer as it was found: the results were saved anew.

    `now`: when the search began. An object that was written since then belongs to a job that was saved meanwhile.
    """
    if read_sidecar(results.read(expired.sidecar) or b"") != expired.body:
        return False
    record(expired.job, expired.created_at, now)
    results.remove([name for name in expired.names if (there := results.info(name)) and there.modified < now])
    # Another job's equal image may need them again: they are then made again.
    results.remove(expired.thumbnails)
    body = {**expired.body, "removed_at": now.isoformat()}
    results.write(expired.sidecar, encode(body, indent=1) + b"\n", CONTENT_TYPE)
    _audit.warning(
        "results of job %s removed by %s: %d objects, %d bytes", expired.job, by, len(expired.names), expired.size
    )
    return True


def _takes(selection: Selection, body: Mapping[str, Any]) -> bool:
    try:
        return selection.takes(body) and bool(datetime.fromisoformat(body["created_at"]))
    except UNREADABLE:
        return False  # somebody changed it: the audit reports it


@dataclass(frozen=True, slots=True)
class _Object:
    """An object that a sidecar names."""

    name: str
    size: int
    sha256: str


def _outputs(body: Mapping[str, Any]) -> list[_Object]:
    try:
        outputs = [
            _Object(str(each["name"]), int(each["size"]), str(each.get("sha256"))) for each in body.get("outputs", ())
        ]
    except UNREADABLE:
        return []
    return [each for each in outputs if is_object_name(each.name)]
