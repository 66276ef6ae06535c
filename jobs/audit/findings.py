"""What an audit finds, how each is looked at again and mended, and how it walks through keys step by step."""

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.client import Pipeline

from jobs.fields import shown
from jobs.store.chunks import CHUNK, Each, chunks
from jobs.store.redis_keys import FAMILY, SINGLE, TYPES, Keys

#: Families of which there are few.
SMALL = frozenset({"batch", "grouped", "labelled", "lane", "pool", "queues", "ready", "spent"})
_WRONG_TYPE = "WRONGTYPE"
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Look:
    """A verb that looks at one place in one step (`repair_….lua`), and puts it right when it is told to.

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
        #: What the survey found to be of another type: what it is → family, key, type, type that it should be.
        self.odd: dict[str, tuple[str, str, str, str]] = {}
        self.odd_keys: set[str] = set()
        self._pause = pause

    def survey(self, families: Collection[str]) -> Iterator[tuple[str, str]]:
        """Every key once round, since that is a walk through all of them: family and id of those in these families.

        The ids in small families are in `names` afterwards. Some may come twice.
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
                if found not in (expected, "none"):  # none: gone meanwhile
                    what = f"{family} {shown(id_)}" if family else shown(name)
                    self.odd[what] = (single.get(key) or family, shown(key), found, expected)
                    self.odd_keys.add(key)
                elif family in families:
                    yield family, id_
                elif family in SMALL:
                    self.names[family].add(id_)

    def ask(self, pipe: Pipeline) -> list[Any]:
        """What the commands of a pipeline answer; of a key of another type, as if it were not there."""
        asked = [args for args, _ in pipe.command_stack]
        answers = list(pipe.execute(raise_on_error=False))
        return [_absent(args, answer) for args, answer in zip(asked, answers, strict=True)]

    def value(self, key: str, field: str) -> str | None:
        """A field of a hash."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hget(key, field)
            (answer,) = self.ask(pipe)
        return answer if answer is None else str(answer)

    def fields(self, key: str) -> Iterator[tuple[str, str]]:
        """Fields of a hash; some may come twice."""
        with suppress_wrong_type():
            for field, value in self.client.hscan_iter(key, count=CHUNK):
                yield str(field), str(value)

    def members(self, key: str) -> Iterator[str]:
        """Members of a sorted set; some may come twice."""
        yield from (member for member, _ in self.scores(key))

    def scores(self, key: str) -> Iterator[tuple[str, float]]:
        """Members of a sorted set, and their scores; some may come twice."""
        with suppress_wrong_type():
            for member, score in self.client.zscan_iter(key, count=CHUNK):
                yield str(member), float(score)

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
                yield from zip(chunk, self.ask(pipe), strict=True)


def whole(told: str | None) -> int:
    """A stored whole number; what is none counts as zero, and is told of by itself (jobs.audit.damage)."""
    return int(told) if told and _WHOLE.fullmatch(told) else 0


@contextmanager
def suppress_wrong_type() -> Iterator[None]:
    """A key of another type counts as absent."""
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
    """Text as a pattern of Redis that matches only itself."""
    return "".join("\\" + letter if letter in "*?[]\\^" else letter for letter in text)
