"""Pages of jobs and of batches, by label, state and time.

A page is bounded work, however many there are: it comes from the index that holds the fewest, of which so many entries
are looked at and no more, so that it may be short, even empty, although more follow. A cursor is the creation time of
the last entry that was looked at (or, within a batch, a position): nothing that moves meanwhile is shown twice or
skipped, for neither ever changes, and no two are created at the same time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import redis

from jobs.errors import BatchNotFound
from jobs.reading import CHUNK, Reading
from jobs.record import micros
from jobs.scripts import translated
from jobs.states import FINAL, State
from jobs.summary import Batch, BatchPage, Page, Progress
from jobs.waiting import with_reasons

#: Entries looked at, at most, to fill one page.
SCAN = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a list is held to: all of these labels; created at `since` or later, and before `before`."""

    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    before: datetime | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The labels as the indexes name them."""
        return tuple(f"{name}={value}" for name, value in self.labels.items())

    def bounds(self, cursor: str | None) -> tuple[str, str]:
        """The times of an index that are still to come, newest first: (before, from then on)."""
        ends = [micros(self.before)] if self.before else []
        ends += [int(cursor)] if cursor else []
        return f"({min(ends)}" if ends else "+inf", str(micros(self.since)) if self.since else "-inf"

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
        if only.labels:
            keys = [self._keys.of("labelled", each) for each in only.named]
            keep = partial(self._in_states, states=[state]) if state else None
            ids, further = self._scan(keys, only.bounds(cursor), keep, limit)
        else:
            before, since = (end.removeprefix("(") for end in only.bounds(cursor))
            row = self._scripts.call("list", before, since, limit, *([state] if state else State))
            ids, further = row[::2], row[-1] if len(row) == 2 * limit else None
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
        """Jobs of a batch in input order. Raises `BatchNotFound`."""
        only = only or Filter()
        self.batch(batch_id)
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
        keys = [self._keys.of("grouped", each) for each in only.named] or [self._keys.single("batches")]
        keep = partial(self._that_are, progress) if progress else None
        ids, further = self._scan(keys, only.bounds(cursor), keep, limit)
        return BatchPage(self._batches(ids), further)

    def _scan(
        self,
        keys: Sequence[str],
        bounds: tuple[str, str],
        keep: Callable[[Sequence[str]], Iterable[str]] | None,
        limit: int,
    ) -> tuple[list[str], str | None]:
        """Ids that are in all these indexes, of which `keep` keeps some, newest first; and where to go on."""
        (before, since), found, seen = bounds, list[str](), 0
        try:
            first, *others = self._fewest_first(keys)
            while seen < SCAN:
                rows: Any = self._client.zrevrangebyscore(first, before, since, 0, CHUNK, withscores=True)
                at = {str(member): f"{score:.0f}" for member, score in rows}
                in_all = self._in_all(list(at), others)
                ids = set(keep(in_all) if keep else in_all)
                for member in (member for member in at if member in ids):
                    found.append(member)
                    if len(found) == limit:
                        return found, at[member]
                if len(rows) < CHUNK:
                    return found, None
                last = f"{rows[-1][1]:.0f}"
                before, seen = f"({last}", seen + len(rows)
        except redis.RedisError as error:
            raise translated(error) from error
        return found, last

    def _fewest_first(self, keys: Sequence[str]) -> list[str]:
        if len(keys) == 1:
            return list(keys)
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.zcard(key)
            sizes = dict(zip(keys, pipe.execute(), strict=True))
        return sorted(keys, key=lambda key: int(sizes[key]))

    def _in_all(self, ids: list[str], keys: Sequence[str]) -> list[str]:
        for key in keys:
            scores: Any = self._client.zmscore(key, ids) if ids else []
            ids = [member for member, score in zip(ids, scores, strict=True) if score is not None]
        return ids

    def _that_are(self, progress: Progress, ids: Sequence[str]) -> list[str]:
        """Those of these batches that stand so, by their counters alone."""
        with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(self._keys.of("batch", batch_id), ["accepted", "paused", "do", *FINAL])
            rows = pipe.execute()
        standing = (
            Progress.of(
                int(accepted or 0),
                sum(int(ended or 0) for ended in ends),
                paused=paused is not None,
                taking_in=doing == "commit",
            )
            for accepted, paused, doing, *ends in rows
        )
        return [batch_id for batch_id, each in zip(ids, standing, strict=True) if each is progress]

    def _batches(self, ids: Sequence[str]) -> tuple[Batch, ...]:
        found = []
        for batch_id, row in zip(ids, self._scripts.calls([("batch", each) for each in ids]), strict=True):
            try:
                found.append(self._batch(batch_id, row))
            except BatchNotFound:
                continue  # forgotten in this very moment
        return tuple(with_reasons(self._scripts, self.settings, found))
