"""What an audit finds, and how it walks through keys without holding anyone up."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import redis

from jobs.keys import FAMILY, Keys

#: Keys asked for in one step of a cursor, and records read in one round trip.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: which, at whose id (a job's, a batch's, or `lane`), what was found, and what to do about it."""

    rule: str
    id: str
    detail: str
    remedy: str


def ids_of(client: redis.Redis, keys: Keys, family: str) -> Iterator[str]:
    """Ids that have a key of that family, each once."""
    start = keys.prefix + FAMILY[family]
    seen: set[str] = set()
    for key in client.scan_iter(match=_literally(start) + "*", count=CHUNK):
        if key not in seen:
            seen.add(key)
            yield key.removeprefix(start)


def chunks(ids: Iterator[str]) -> Iterator[list[str]]:
    """The ids, `CHUNK` at a time."""
    while chunk := list(islice(ids, CHUNK)):
        yield chunk


def _literally(text: str) -> str:
    """Text as a pattern of Redis that matches only itself."""
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in text)
