"""Pages of batches, by label, state and time.

The work for a page is bounded: it reads the index with the fewest entries, and checks a limited number of them. A page
may therefore be short, even empty, although more follow. A cursor is the creation time of the last checked entry. It
never changes, and no two are equal, so that concurrent changes make no page skip or repeat an entry.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import redis

from jobs.connections.errors import translate_errors
from jobs.store.chunks import CHUNK
from jobs.units import to_micros

#: Most entries checked for one page.
SCAN = 5_000

#: (created before, created since, most) → ids in that range, newest first, with their stored times.
Entries = Callable[[str, str, int], dict[str, str]]
#: Ids → those of them that belong on the page.
Keep = Callable[[Sequence[str]], Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """The conditions of a list: all of these labels; created at `since` or later, and before `before`.

    `owner`: only batches of this producer; None: of any.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    before: datetime | None = None
    owner: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The labels in the form of the indexes' names."""
        return tuple(f"{name}={value}" for name, value in self.labels.items())

    def bounds(self, cursor: str | None) -> tuple[str, str]:
        """Return the range of creation times that remains: (before, since)."""
        ends = [to_micros(self.before)] if self.before else []
        ends += [int(cursor)] if cursor else []
        return str(min(ends)) if ends else "+inf", str(to_micros(self.since)) if self.since else "-inf"


def index_entries(client: redis.Redis, keys: Sequence[str]) -> tuple[Entries, *tuple[Keep, ...]]:
    """Read the smallest of these indexes. The others filter its entries."""
    first, *others = _smallest_first(client, keys)

    def entries(before: str, since: str, most: int) -> dict[str, str]:
        end = before if before == "+inf" else f"({before}"
        rows: Any = client.zrevrangebyscore(first, end, since, 0, most, withscores=True)
        return {str(member): f"{score:.0f}" for member, score in rows}

    return entries, *(partial(_in_index, client, key) for key in others)


@translate_errors()
def _smallest_first(client: redis.Redis, keys: Sequence[str]) -> list[str]:
    if len(keys) == 1:
        return list(keys)
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.zcard(key)
        sizes = dict(zip(keys, pipe.execute(), strict=True))
    return sorted(keys, key=lambda key: int(sizes[key]))


def _in_index(client: redis.Redis, key: str, ids: Sequence[str]) -> list[str]:
    scores: Any = client.zmscore(key, list(ids))
    return [member for member, score in zip(ids, scores, strict=True) if score is not None]


@translate_errors()
def scan(
    entries: Entries, bounds: tuple[str, str], keeps: Sequence[Keep], limit: int, most_checked: int = SCAN
) -> tuple[list[str], str | None]:
    """Return up to `limit` ids that pass every filter of `keeps`, newest first, and the next cursor (None: the end).

    `most_checked`: how many entries are checked at most, rounded up to whole chunks.
    """
    (before, since), found, seen = bounds, list[str](), 0
    # Without a condition every entry is on the page: read no more than it needs.
    most = CHUNK if keeps else limit
    while seen < most_checked:
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
    return found, before
