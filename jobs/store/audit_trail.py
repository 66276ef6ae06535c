"""Writes and reads the audit trail (jobs.audit_trail): a stream for each producer, and one for all operators.

Each has its bound, so a busy or hostile producer pushes out only its own entries.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from jobs.audit_trail import ENTRIES_KEPT, Action, AuditEntry, AuditPage, Via, serialized
from jobs.connections.errors import translate_errors, translated
from jobs.decoding import UNREADABLE, read_labels
from jobs.errors import RecordDamaged
from jobs.fields import is_text
from jobs.store.context import StoreContext
from jobs.units import to_micros

#: Entries that are read for one page.
SCAN = 4_000
#: Fewest entries that are read of one stream.
_FEWEST = 10
_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,20})\.([a-z0-9_*-]{1,40})", re.ASCII)
_MILLISECOND = 1_000

#: Where an entry stands among those of all streams: milliseconds, number within one, and whose it is.
Position = tuple[int, int, str]


class AuditTrail:
    """The audit trail. All methods raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._kept = context.configured.audit_trail_retention

    @translate_errors()
    def record(self, action: Action) -> None:
        """Add an entry. Old ones of the same owner go: beyond the bound, and after the retention, by Redis's clock."""
        key = self._keys.member("trail", action.owner)
        fields: Any = {
            "key": action.key,
            "by": action.by,
            "operation": action.operation,
            "via": action.via.value,
            "status": "" if action.status is None else str(action.status),
            "request": action.request,
            "details": serialized(action.details),
        }
        with self._client.pipeline(transaction=False) as pipe:
            pipe.sadd(self._keys.singleton("trails"), action.owner)
            pipe.xadd(key, fields, maxlen=ENTRIES_KEPT, approximate=True)
            pipe.expire(key, int(self._kept))
            _, entry_id, _ = pipe.execute()
        oldest = int(entry_id.partition("-")[0]) - int(self._kept * _MILLISECOND)
        self._client.xtrim(key, minid=str(max(0, oldest)), approximate=True)

    def page(
        self,
        owner: str | None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        operation: str | None = None,
        key: str | None = None,
        about: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> AuditPage:
        """List entries of one owner or (None) of all, newest first.

        `since`: from then on. `until`: before then. `operation`: a part of its name. `key`: the id or name of the key.
        `about`: an id that the entry names. A filtered page may be short although more follow. Raises `ValueError` for
        a cursor that is none.
        """
        after, found, seen = read_cursor(cursor), list[AuditEntry](), 0
        last: Position = (0, 0, "")
        owners = self._owners() if owner is None else [owner]
        kept_since = datetime.now(UTC) - timedelta(seconds=self._kept)
        bounds = _bounds(max(since or kept_since, kept_since), until)
        is_filtered = any(each is not None for each in (operation, key, about))
        count = max(_FEWEST, (2 if len(owners) > 1 else 1) * (limit + 1) // max(1, len(owners)))
        while True:
            entries, after = self._read(owners, bounds, after, count)
            for position, entry in entries:
                seen += 1
                if is_filtered and not _matches(entry, operation, key, about):
                    continue
                if len(found) == limit:
                    return AuditPage(entries=tuple(found), cursor=_cursor(last))
                found.append(entry)
                last = position
            if after is None or seen >= SCAN:
                return AuditPage(entries=tuple(found), cursor=None if after is None else _cursor(after))
            count = min(2 * count, SCAN)

    @translate_errors()
    def _owners(self) -> list[str]:
        owners: Any = self._client.smembers(self._keys.singleton("trails"))
        return sorted(owners)

    @translate_errors()
    def _read(
        self, owners: Sequence[str], bounds: tuple[str, str], after: Position | None, count: int
    ) -> tuple[list[tuple[Position, AuditEntry]], Position | None]:
        """Read the next entries of all streams, newest first, and where to go on (None: there are no more).

        Of each stream, `count` are read. The result goes back only to where every stream was read.
        """
        oldest, newest = bounds
        with self._client.pipeline(transaction=False) as pipe:
            for owner in owners:
                pipe.xrevrange(self._keys.member("trail", owner), _end(newest, after, owner), oldest, count=count)
            answers = pipe.execute(raise_on_error=False)
        rows: list[tuple[Position, AuditEntry]] = []
        ends: list[Position] = []
        for owner, answer in zip(owners, answers, strict=True):
            read = _entries(answer, skip_damaged=len(owners) > 1)
            of_owner = [(_position(str(entry_id), owner), fields) for entry_id, fields in read]
            rows += [(position, _entry(position, fields)) for position, fields in of_owner]
            if len(of_owner) == count:
                ends.append(of_owner[-1][0])
        if not ends:
            return sorted(rows, key=_first, reverse=True), None
        complete = max(ends)
        return sorted((each for each in rows if each[0] >= complete), key=_first, reverse=True), complete


def read_cursor(cursor: str | None) -> Position | None:
    """Parse a cursor. Raises `ValueError`."""
    if cursor is None:
        return None
    if found := _CURSOR.fullmatch(cursor):
        return int(found[1]), int(found[2]), found[3]
    raise ValueError("not a cursor of the audit trail")


def _cursor(position: Position) -> str:
    return f"{position[0]}-{position[1]}.{position[2]}"


def _first(row: tuple[Position, AuditEntry]) -> Position:
    return row[0]


def _bounds(since: datetime, until: datetime | None) -> tuple[str, str]:
    """Return the first and last id of entries in a time. Ids count in milliseconds."""
    first = str(max(0, -(-to_micros(since) // _MILLISECOND)))
    if until is None:
        return first, "+"
    last = -(-to_micros(until) // _MILLISECOND) - 1
    return first, str(last) if last >= 0 else "0-0"  # Redis gives no entry the id 0-0


def _end(newest: str, after: Position | None, owner: str) -> str:
    """Return the last id that may follow in a stream."""
    if after is None:
        return newest
    milliseconds, number, of = after
    # Entries of the same id are ordered by their owner.
    end = f"{milliseconds}-{number}" if owner < of else f"({milliseconds}-{number}"
    return end if newest == "+" or milliseconds <= int(newest.partition("-")[0]) else newest


def _entries(answer: Any, *, skip_damaged: bool) -> Any:
    """Return the entries of a stream. A key that is no stream is an error, which must not hide other streams."""
    if isinstance(answer, redis.RedisError):
        known = translated(answer)
        if skip_damaged and isinstance(known, RecordDamaged):
            return ()
        raise known
    return answer


def _position(entry_id: str, owner: str) -> Position:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number), owner


def _entry(position: Position, fields: Mapping[str, str]) -> AuditEntry:
    milliseconds, number, owner = position
    entry_id = f"{milliseconds}-{number}"
    try:
        if not all(map(is_text, fields.values())):
            raise ValueError("not UTF-8")
        action = Action(
            owner=owner,
            key=fields["key"],
            by=fields["by"],
            operation=fields["operation"],
            via=Via(fields["via"]),
            status=int(fields["status"]) if fields["status"] else None,
            request=fields["request"],
            details=read_labels(fields["details"]),
        )
        at = datetime.fromtimestamp(milliseconds / _MILLISECOND, UTC)
    except UNREADABLE:
        return AuditEntry(id=entry_id, owner=owner, at=None, action=None)
    return AuditEntry(id=entry_id, owner=owner, at=at, action=action)


def _matches(entry: AuditEntry, operation: str | None, key: str | None, about: str | None) -> bool:
    return (
        (operation is None or (entry.action is not None and operation.lower() in entry.operation.lower()))
        and (key is None or entry.is_by(key))
        and (about is None or entry.names(about))
    )
