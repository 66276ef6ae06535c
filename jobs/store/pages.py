"""Pages of jobs and of batches, by label, state and time.

A page is bounded work, however many there are: it comes from the index that holds the fewest, of which so many entries
are looked at and no more, so that it may be short, even empty, although more follow. A cursor is the creation time of
the last entry that was looked at (or, within a batch, a position): nothing that moves meanwhile is shown twice or
skipped, for neither ever changes, and no two are created at the same time.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import redis

from jobs.connections.errors import translated
from jobs.decoding import decoding
from jobs.errors import BatchNotFound, RecordDamaged
from jobs.fields import shown
from jobs.read_models import Batch, BatchPage, Page, Progress
from jobs.states import FINAL, State
from jobs.store.queries import CHUNK, Reading, log
from jobs.store.wait_reasons import with_reasons
from jobs.units import to_micros

#: Entries looked at, at most, to fill one page.
SCAN = 5_000

#: (created before, from then on, most) → ids of that time, newest first, with their times as they are stored.
Entries = Callable[[str, str, int], dict[str, str]]
#: Ids → those of them that are wanted.
Keep = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list is held to: all of these labels; created at `since` or later, and before `before`.

    `owner`: only what came with keys of this name; None: with any.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    before: datetime | None = None
    owner: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The labels as the indexes name them."""
        return tuple(f"{name}={value}" for name, value in self.labels.items())

    def bounds(self, cursor: str | None) -> tuple[str, str]:
        """The times of an index that are still to come, newest first: (before, from then on)."""
        ends = [to_micros(self.before)] if self.before else []
        ends += [int(cursor)] if cursor else []
        return str(min(ends)) if ends else "+inf", str(to_micros(self.since)) if self.since else "-inf"

    def admits(self, created: datetime, labels: Mapping[str, str]) -> bool:
        """Whether it is one of them."""
        in_time = (self.since is None or created >= self.since) and (self.before is None or created < self.before)
        return in_time and all(labels.get(name) == value for name, value in self.labels.items())


class Listing(Reading):
    """Reads lists. Raises `StoreUnavailable`."""

    def page(
        self,
        state: State | None = None,
        *,
        only: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Jobs, newest first, with labels of their own where `only` names some. `cursor` is an earlier page's."""
        only = only or Filter()
        entries, keeps = self._of_states([state] if state else list(State)), list[Keep]()
        if only.labels:
            entries, *keeps = self._of_indexes([self._keys.member("labelled", each) for each in only.named])
            keeps += [partial(self._in_states, states=[state])] if state else []
        if only.owner is not None:
            keeps.append(partial(self._owned, only.owner))
        ids, further = _scan(entries, only.bounds(cursor), keeps, limit)
        return Page(tuple(job for job in self.get_many(ids) if job), further)

    def page_of_batch(
        self,
        batch_id: str,
        state: State | None = None,
        *,
        only: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Jobs of a batch in input order. Raises `BatchNotFound`, also where it is another owner's."""
        only = only or Filter()
        if only.owner not in (None, self.batch(batch_id).owner):
            raise BatchNotFound(batch_id)
        start = int(cursor or 0)
        found = []
        seen = 0
        while seen < SCAN:
            ids = self._members(batch_id, start, min(CHUNK, limit))
            for position, job in enumerate(self.get_many(ids), start):
                if job and (state is None or job.state is state) and only.admits(job.created_at, job.labels):
                    found.append(job)
                    if len(found) == limit:
                        return Page(tuple(found), str(position + 1))
            if not ids:
                return Page(tuple(found), None)
            start += len(ids)
            seen += len(ids)
        return Page(tuple(found), str(start))

    def batches(
        self,
        progress: Progress | None = None,
        *,
        only: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> BatchPage:
        """Batches, newest first. `cursor` is an earlier page's."""
        only = only or Filter()
        keys = [self._keys.member("grouped", each) for each in only.named] or [self._keys.singleton("batches")]
        entries, *keeps = self._of_indexes(keys)
        keeps += [partial(self._that_are, progress)] if progress else []
        keeps += [partial(self._batches_owned, only.owner)] if only.owner is not None else []
        ids, further = _scan(entries, only.bounds(cursor), keeps, limit)
        return BatchPage(self._batches(ids), further)

    def _of_states(self, states: Sequence[State]) -> Entries:
        """The jobs in any of these states."""

        def entries(before: str, since: str, most: int) -> dict[str, str]:
            row = self._scripts.call("list", before, since, most, *states)
            return dict(zip(row[::2], row[1::2], strict=True))

        return entries

    def _of_indexes(self, keys: Sequence[str]) -> tuple[Entries, *tuple[Keep, ...]]:
        """What the index that holds the fewest has, and what keeps of that only what is in all of them."""
        try:
            first, *others = self._fewest_first(keys)
        except redis.RedisError as error:
            raise translated(error) from error

        def entries(before: str, since: str, most: int) -> dict[str, str]:
            end = before if before == "+inf" else f"({before}"
            rows: Any = self._client.zrevrangebyscore(first, end, since, 0, most, withscores=True)
            return {str(member): f"{score:.0f}" for member, score in rows}

        return entries, *(partial(self._in_index, key) for key in others)

    def _fewest_first(self, keys: Sequence[str]) -> list[str]:
        if len(keys) == 1:
            return list(keys)
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.zcard(key)
            sizes = dict(zip(keys, pipe.execute(), strict=True))
        return sorted(keys, key=lambda key: int(sizes[key]))

    def _in_index(self, key: str, ids: Sequence[str]) -> list[str]:
        scores: Any = self._client.zmscore(key, list(ids))
        return [member for member, score in zip(ids, scores, strict=True) if score is not None]

    def _owned(self, owner: str, ids: Sequence[str]) -> list[str]:
        return [job_id for job_id, name in zip(ids, self.owners(ids), strict=True) if name == owner]

    def _batches_owned(self, owner: str, ids: Sequence[str]) -> list[str]:
        with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hget(self._keys.member("batch", batch_id), "key")
            names = pipe.execute(raise_on_error=False)
        return [batch_id for batch_id, name in zip(ids, names, strict=True) if name == owner]

    def _that_are(self, progress: Progress, ids: Sequence[str]) -> list[str]:
        """Those of these batches that stand so, by their counters alone."""
        with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(self._keys.member("batch", batch_id), ["accepted", "paused", "do", *FINAL])
            rows = pipe.execute(raise_on_error=False)
        return [batch_id for batch_id, row in zip(ids, rows, strict=True) if _progress(batch_id, row) is progress]

    def _batches(self, ids: Sequence[str]) -> tuple[Batch, ...]:
        found = []
        for batch_id, row in zip(
            ids, self._scripts.tries([("batch", each) for each in ids]) if ids else (), strict=True
        ):
            try:
                if isinstance(row, RecordDamaged):
                    raise row
                found.append(self._batch(batch_id, row))
            except BatchNotFound:
                continue  # forgotten in this very moment
            except RecordDamaged as error:
                log.warning("left out: batch %s: %s", shown(batch_id), error)
        return tuple(with_reasons(self._scripts, self.settings, found))


def _progress(batch_id: str, row: Any) -> Progress | None:
    """Where a batch stands; None where that cannot be read."""
    try:
        with decoding(f"batch {shown(batch_id)}"):
            accepted, paused, doing, *ends = row
            ended = sum(int(ended or 0) for ended in ends)
            return Progress.of(int(accepted or 0), ended, paused=paused is not None, taking_in=doing == "commit")
    except RecordDamaged as error:
        log.warning("left out: %s", error)
        return None


def _scan(entries: Entries, bounds: tuple[str, str], keeps: Sequence[Keep], limit: int) -> tuple[list[str], str | None]:
    """Ids that each of `keeps` keeps, newest first; and where to go on."""
    (before, since), found, seen = bounds, list[str](), 0
    # Where all are kept no more is read than is shown.
    most = CHUNK if keeps else limit
    try:
        while seen < SCAN:
            at = entries(before, since, most)
            ids: Collection[str] = at
            for keep in keeps:
                ids = set(keep([each for each in at if each in ids])) if ids else ids
            for member in (member for member in at if member in ids):
                found.append(member)
                if len(found) == limit:
                    return found, at[member]
            if len(at) < most:
                return found, None
            before, seen = at[next(reversed(at))], seen + len(at)
    except redis.RedisError as error:
        raise translated(error) from error
    return found, before
