"""The audit trail: who changed what, and with what result. The audit log has the same as lines, with addresses.

An entry is written after the change. No entry contains a secret, a query or a body.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from jobs.producer_ids import given_id

#: Entries that are kept of one producer, and of all operators together. So nobody pushes out the entries of others.
ENTRIES_KEPT = 10_000
#: Characters of one detail, and bytes of all details of an entry, as JSON.
LONGEST_DETAIL, MOST_DETAILS = 200, 600
#: The operation of an entry that cannot be read.
DAMAGED = "damaged"
#: Names of details: those whose value is the service's id of a job, and of a batch.
JOB, BATCH = "job_id", "batch_id"
OTHER_JOBS = frozenset({"regenerated_by", "delivery"})
#: Set where there were more details.
_CUT = "cut"


class Via(StrEnum):
    """How a change was requested."""

    API = "api"
    PAGE = "page"
    COMMAND = "command"  #: of boomerang-server


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A change that was requested, and its result.

    `owner`: whose entry it is, a producer's or (ANYONE) the operators'. `key`: the id of the key, '' for a command.
    `by`: the name of the key, or the user of the command. `status`: of the HTTP answer, None for a command. `request`:
    the id in the answer's header X-Request-Id.
    """

    owner: str
    by: str
    operation: str
    via: Via
    key: str = ""
    status: int | None = None
    request: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An entry, with its id and time. A damaged one has neither time nor action."""

    id: str
    owner: str
    at: datetime | None
    action: Action | None

    @property
    def operation(self) -> str:
        """What was requested."""
        return self.action.operation if self.action else DAMAGED

    def names(self, wanted: str) -> bool:
        """Return whether it names a job, batch, lane, key, request … by this id, with or without its producer."""
        if self.action is None:
            return False
        named = (self.action.request, *self.action.details.values())
        return any(wanted in (each, given_id(each)) for each in named)

    def is_by(self, key: str) -> bool:
        """Return whether the key with this id or name requested it."""
        return self.action is not None and key in (self.action.key, self.action.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, and the cursor of the next page (None: this is the last)."""

    entries: tuple[AuditEntry, ...]
    cursor: str | None


def bounded(details: Mapping[str, Any]) -> dict[str, str]:
    """Return details as text of bounded length. The first ones stay whole: name the ids first."""
    kept: dict[str, str] = {}
    for name, value in details.items():
        # A text from a JSON body may have half surrogates.
        text = str(value).encode("utf-8", "replace").decode()
        more = {name: text if len(text) <= LONGEST_DETAIL else text[:LONGEST_DETAIL] + "…"}
        if len(serialized(kept | more).encode()) > MOST_DETAILS:
            return kept | {_CUT: "yes"}
        kept |= more
    return kept


def serialized(details: Mapping[str, str]) -> str:
    """Return details as JSON."""
    return json.dumps(details, ensure_ascii=False, separators=(",", ":"))
