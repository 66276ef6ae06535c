"""The findings of an audit, with their second check and repair, and the reader of all keys."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.client import Pipeline

from jobs.fields import printable
from jobs.store.chunks import CHUNK, Each, chunks
from jobs.store.redis_keys import FAMILY, SINGLE, TYPES, Keys

#: Families with few members.
SMALL = frozenset(
    {
        "batch",
        "batches_of",
        "batch_saves",
        "batch_unsaved",
        "bulk",
        "grouped",
        "labelled",
        "lane",
        "marked",
        "notifications",
        "pool",
        "queues",
        "ready",
        "spent",
        "spent_labels",
    }
)
_WRONG_TYPE = "WRONGTYPE"
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Check:
    """A verb that checks one finding in one step (`repair_….lua`), and can correct it.

    `answer`: what it returns while the finding is true. `repairs`: whether it can correct the finding.
    """

    verb: str
    target: tuple[str, ...]
    answer: str
    repairs: bool = True


@dataclass(frozen=True, slots=True)
class Drift:
    """A counter (a field of a hash) that is too high by `over`. Regular changes do not alter the difference.

    `absent`: zero is stored as absence.
    """

    key: str
    field: str
    over: int
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: the id of the job, batch or `lane <name>`, what is wrong, and what to do about it.

    `check`: checks it again in one step; `drifts`: counters to correct.
    """

    rule: str
    id: str
    detail: str
    remedy: str
    check: Check | None = None
    drifts: tuple[Drift, ...] = ()

    @property
    def repairable(self) -> bool:
        """Whether a repair corrects it by itself."""
        return bool(self.drifts) or (self.check is not None and self.check.repairs)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "rule": self.rule,
            "id": self.id,
            "detail": self.detail,
            "remedy": self.remedy,
            "repairable": self.repairable,
        }


class Reader:
    """Reads keys by cursor, with `pause` seconds between two steps. Calls `on_step` after each step."""

    def __init__(self, client: redis.Redis, keys: Keys, *, pause: float = 0.0) -> None:
        self.client = client
        self.keys = keys
        self.on_step: Callable[[], None] = lambda: None
        #: Family → ids that the survey found.
        self.names: dict[str, set[str]] = {family: set() for family in SMALL}
        #: Keys of a wrong type that the survey found: description → family, key, type, expected type.
        self.misplaced: dict[str, tuple[str, str, str, str]] = {}
        self.misplaced_keys: set[str] = set()
        self._pause = pause

    def survey(self, families: Collection[str]) -> Iterator[tuple[str, str]]:
        """Read all keys; yield family and id of the keys in these families. Some may come twice.

        Afterwards `names` has the ids in small families.
        """
        single = {self.keys.singleton(name): name for name in SINGLE}
        prefix, family_of = self.keys.prefix, {start: family for family, start in FAMILY.items()}
        for keys in chunks(map(str, self.client.scan_iter(match=_literally(prefix) + "*", count=CHUNK))):
            with self.client.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.type(key)
                types = pipe.execute()
            for key, found in zip(keys, types, strict=True):
                name = key.removeprefix(prefix)
                start = name[: name.find(":") + 1]
                family, id_ = family_of.get(start, ""), name.removeprefix(start)
                expected = TYPES.get(single.get(key) or family, found)
                if found not in (expected, "none"):  # none: it was deleted meanwhile
                    what = f"{family} {printable(id_)}" if family else printable(name)
                    self.misplaced[what] = (single.get(key) or family, printable(key), found, expected)
                    self.misplaced_keys.add(key)
                elif family in families:
                    yield family, id_
                elif family in SMALL:
                    self.names[family].add(id_)

    def ask(self, pipe: Pipeline) -> list[Any]:
        """Run the commands of a pipeline. A key of a wrong type counts as absent."""
        asked = [args for args, _ in pipe.command_stack]
        answers = list(pipe.execute(raise_on_error=False))
        return [_absent(args, answer) for args, answer in zip(asked, answers, strict=True)]

    def value(self, key: str, field: str) -> str | None:
        """Return a field of a hash."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hget(key, field)
            (answer,) = self.ask(pipe)
        return answer if answer is None else str(answer)

    def fields(self, key: str) -> Iterator[tuple[str, str]]:
        """Yield the fields of a hash; some may come twice."""
        with suppress_wrong_type():
            for field, value in self.client.hscan_iter(key, count=CHUNK):
                yield str(field), str(value)

    def members(self, key: str) -> Iterator[str]:
        """Yield the members of a sorted set; some may come twice."""
        yield from (member for member, _ in self.scores(key))

    def scores(self, key: str) -> Iterator[tuple[str, float]]:
        """Yield the members of a sorted set with their scores; some may come twice."""
        with suppress_wrong_type():
            for member, score in self.client.zscan_iter(key, count=CHUNK):
                yield str(member), float(score)

    def steps(self, ids: Iterable[Each]) -> Iterator[list[Each]]:
        """Yield these, `CHUNK` at a time, with a pause after each chunk."""
        for chunk in chunks(iter(ids)):
            yield chunk
            self.on_step()
            if self._pause:
                time.sleep(self._pause)

    def hashes(self, keys: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the whole hashes under these keys."""
        for chunk in self.steps(keys):
            with self.client.pipeline(transaction=False) as pipe:
                for key in chunk:
                    pipe.hgetall(key)
                yield from zip(chunk, self.ask(pipe), strict=True)


def whole(stored: str | None) -> int:
    """Return a stored whole number. A malformed one counts as zero; jobs.audit.damage reports it."""
    return int(stored) if stored and _WHOLE.fullmatch(stored) else 0


@contextmanager
def suppress_wrong_type() -> Iterator[None]:
    """Treat a key of another type as absent."""
    try:
        yield
    except redis.ResponseError as error:
        if not str(error).startswith(_WRONG_TYPE):
            raise


def _absent(args: Sequence[Any], answer: Any) -> Any:
    if not isinstance(answer, redis.RedisError):
        return answer
    if not str(answer).startswith(_WRONG_TYPE):
        raise answer
    match args[0]:
        case "HGETALL":
            return {}
        case "HMGET":
            return [None] * (len(args) - 2)
        case "ZRANGE" | "ZRANGEBYSCORE" | "XREVRANGE" | "XRANGE":
            return []
        case "LLEN" | "HLEN" | "HEXISTS":
            return 0
    return None


def _literally(text: str) -> str:
    """Escape text for a pattern of Redis."""
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in text)
