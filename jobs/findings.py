"""What an audit finds, how each is looked at again and mended, and how it walks through keys step by step."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import redis

from jobs.keys import FAMILY, Keys

#: Keys asked for in one step of a cursor, and records read in one round trip.
CHUNK = 500
#: Families of which there are few.
SMALL = frozenset({"batch", "grouped", "labelled", "lane", "pool", "queues", "ready", "spent"})
Each = TypeVar("Each")


@dataclass(frozen=True, slots=True)
class Look:
    """A verb that looks at one place in one step (`mend_….lua`), and puts it right when it is told to.

    `word`: what it answers while the finding is true. `mends`: whether it may be told to.
    """

    verb: str
    target: tuple[str, ...]
    word: str
    mends: bool = True


@dataclass(frozen=True, slots=True)
class Drift:
    """A counter (a field of a hash) that is off by so much, whatever goes on meanwhile.

    `absent`: zero is written as absence.
    """

    key: str
    field: str
    over: int
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: which, at whose id (a job's, a batch's, or `lane`), what was found, and what to do about it.

    `look`: where it was, or is to be, looked at a second time in one step; `drifts`: counters to correct.
    """

    rule: str
    id: str
    detail: str
    remedy: str
    look: Look | None = None
    drifts: tuple[Drift, ...] = ()

    @property
    def mendable(self) -> bool:
        """Whether a repair puts it right by itself."""
        return bool(self.drifts) or (self.look is not None and self.look.mends)

    def shown(self) -> dict[str, Any]:
        """As plain data, for machines."""
        return {
            "rule": self.rule,
            "id": self.id,
            "detail": self.detail,
            "remedy": self.remedy,
            "mendable": self.mendable,
        }


class Reader:
    """Walks through keys by cursor, `pause` seconds between two steps; `on_step` is called after each."""

    def __init__(self, client: redis.Redis, keys: Keys, *, pause: float = 0.0) -> None:
        self.client = client
        self.keys = keys
        self.on_step: Callable[[], None] = lambda: None
        #: Family → ids, as the survey found them.
        self.names: dict[str, set[str]] = {family: set() for family in SMALL}
        self._pause = pause

    def survey(self, families: Collection[str]) -> Iterator[tuple[str, str]]:
        """Every key once round, since that is a walk through all of them: family and id of those in these families.

        The ids in small families are in `names` afterwards. Some may come twice.
        """
        prefix, family_of = self.keys.prefix, {start: family for family, start in FAMILY.items()}
        for key in self.client.scan_iter(match=_literally(prefix) + "*", count=CHUNK):
            name = str(key).removeprefix(prefix)
            start = name[: name.find(":") + 1]
            family = family_of.get(start, "")
            if family in families:
                yield family, name.removeprefix(start)
            elif family in SMALL:
                self.names[family].add(name.removeprefix(start))

    def members(self, key: str) -> Iterator[str]:
        """Members of a sorted set; some may come twice."""
        for member, _ in self.client.zscan_iter(key, count=CHUNK):
            yield str(member)

    def steps(self, ids: Iterable[Each]) -> Iterator[list[Each]]:
        """What is to be walked through, `CHUNK` at a time."""
        for chunk in chunks(iter(ids)):
            yield chunk
            self.on_step()
            if self._pause:
                time.sleep(self._pause)

    def hashes(self, keys: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
        """The hashes under these keys, whole."""
        for chunk in self.steps(keys):
            with self.client.pipeline(transaction=False) as pipe:
                for key in chunk:
                    pipe.hgetall(key)
                yield from zip(chunk, pipe.execute(), strict=True)


def chunks(ids: Iterator[Each]) -> Iterator[list[Each]]:
    """These, `CHUNK` at a time."""
    while chunk := list(islice(ids, CHUNK)):
        yield chunk


def _literally(text: str) -> str:
    """Text as a pattern of Redis that matches only itself."""
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in text)
