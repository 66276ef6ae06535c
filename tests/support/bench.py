"""A store whose clock the test controls, with shortcuts to jobs in each state."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

from jobs.audit.audit import audit
from jobs.claims import Claim, Due
from jobs.connections.client import connect
from jobs.images.images import Images
from jobs.job import LANE, Delivery, Job
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.settings import Settings
from jobs.states import State
from jobs.store.redis_keys import Keys
from jobs.store.store import Store

#: Stands in for Redis's TIME: the test sets it, so nothing here waits.
CLOCK = "local function clock() return tonumber(redis.call('GET', KEYS[1]..'clock')) end\n"
START = 1_700_000_000_000_000
IMAGES = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))


T = TypeVar("T")
NOT_DUMPED = ("wake", "ring", "clock")
#: How to read a key of each type, and how to normalize the answer for a comparison.
READERS: dict[str, Callable[[Any, str], object]] = {
    "hash": lambda pipe, key: pipe.hgetall(key),
    "zset": lambda pipe, key: pipe.zrange(key, 0, -1, withscores=True),
    "list": lambda pipe, key: pipe.lrange(key, 0, -1),
    "set": lambda pipe, key: pipe.smembers(key),
    "stream": lambda pipe, key: pipe.xrange(key),
    "string": lambda pipe, key: pipe.get(key),
    # The key expired while the keys were read.
    "none": lambda pipe, key: pipe.hgetall(key),
}
READABLE: dict[str, Callable[[Any], Any]] = {
    "set": sorted,
    "stream": lambda entries: [fields for _, fields in entries],
}


def _as_is(value: Any) -> Any:
    return value


class Objects(dict[str, bytes]):
    """An image store in memory. `writes` counts; `meanwhile` is called in the middle of the next write or removal."""

    writes = 0
    meanwhile: Callable[[], object] | None = None

    def write(self, name: str, data: bytes) -> None:
        self.writes += 1
        self._interrupt()
        self[name] = data

    def read(self, name: str) -> bytes | None:
        return self.get(name)

    def remove(self, names: Sequence[str]) -> None:
        self._interrupt()
        for name in names:
            self.pop(name, None)

    def _interrupt(self) -> None:
        now, self.meanwhile = self.meanwhile, None
        if now:
            now()


@dataclass
class Bench:
    """A store whose clock the test controls, and its Redis."""

    #: Any: redis-py's stubs give every answer two types.
    raw: Any
    store: Store
    keys: Keys
    stored: Objects = field(default_factory=Objects)

    def with_settings(self, **changes: Any) -> Store:
        """Return another store with the same jobs and clock."""
        return Store(self.raw, Settings(**changes), clock=CLOCK)

    def wind_up(self, now: int = START) -> None:
        """Set an empty Redis's clock and begin an installation, without which no work is accepted."""
        self.raw.set(self.keys.prefix + "clock", now)
        assert self.store.continuity.establish(self.store.continuity.standing())

    def start_afresh(self) -> None:
        """Empty Redis, and keep the clock's time."""
        now = self.now
        self.raw.flushall()
        self.wind_up(now)

    @property
    def now(self) -> int:
        return int(self.raw.get(self.keys.prefix + "clock"))

    def forward(self, seconds: float) -> None:
        self.raw.incrby(self.keys.prefix + "clock", round(seconds * 1_000_000))

    def hints_arrive(self) -> None:
        """End the time after which a hint counts as lost."""
        self.raw.delete(self.keys.singleton("admit_hint"), self.keys.singleton("reconcile_hint"))

    def alarm(self, job_id: str) -> float | None:
        """Return the seconds until the job's alarm, rounded up to ms: after them it is due."""
        at = self.raw.zscore(self.keys.singleton("alarms"), job_id)
        return None if at is None else math.ceil((at - self.now) / 1000) / 1000

    def fields(self, job_id: str) -> dict[str, str]:
        return self.raw.hgetall(self.keys.member("job", job_id))

    def lane(self, name: str = LANE) -> dict[str, str]:
        return self.raw.hgetall(self.keys.member("lane", name))

    def slots(self, name: str = LANE) -> tuple[int, int]:
        lane = self.lane(name)
        return int(lane.get("slots", 0)), int(lane.get("window", 0))

    def ready(self) -> list[str]:
        return self.raw.zrange(self.keys.member("ready", "|1|k"), 0, -1)

    def dump(self) -> dict[str, Any]:
        """Return all stored data except hints, the clock and the id of the Redis process."""
        names = {key: key.removeprefix(self.keys.prefix) for key in self.raw.scan_iter(count=1000)}
        names = {key: name for key, name in names.items() if name not in NOT_DUMPED}
        with self.raw.pipeline(transaction=False) as pipe:
            for key in names:
                pipe.type(key)
            kinds = pipe.execute()
            for key, kind in zip(names, kinds, strict=True):
                READERS[kind](pipe, key)
            values = pipe.execute()
        kept = {
            name: READABLE.get(kind, _as_is)(value)
            for name, kind, value in zip(names.values(), kinds, values, strict=True)
        }
        kept.get("epoch", {}).pop("run", None)
        return {name: value for name, value in kept.items() if value != {}}

    def images(self, settings: Settings | None = None) -> Images:
        """Return the store's images, whose bytes the test can read in `stored`."""
        return Images(self.store.context.scripts, self.stored, settings or Settings())

    @staticmethod
    def placeholder_image(data: bytes) -> Any:
        """Return a placeholder for a valid image."""
        return SimpleNamespace(data=data, hash=sha256(data).hexdigest(), width=300, height=300, format="png")

    def audit(self) -> list[Any]:
        return audit(self.store)

    def holding(self, fence: int, job_id: str = "fox") -> Due:
        """Return a claim of the job's alarm with the fencing token."""
        job = self.store.jobs.get_many([job_id])[0]
        if job is None:
            job = Job.from_fields(job_id, {"s": "in_progress", "m": "m", "c": "0", "u": "0"})
        return Due(replace(job, fence=fence), datetime.fromtimestamp(self.now / 1e6, UTC))

    def let_go(self, job_id: str = "fox") -> None:
        """Let the watch of an expired job end, as if the provider never finished it."""
        self.forward(self.store.context.settings.deadline)
        assert self.store.attempts.expire(self.due(job_id), 30.0).outcome == "over"

    # --- a job in each state, through the verbs --------------------------------------------------------------------

    def job(self, job_id: str = "fox", **changes: Any) -> Job:
        self.store.jobs.enqueue([new(job_id, **changes)])
        return self.store.jobs.get(job_id)

    def claimed(self, job_id: str = "fox", **changes: Any) -> Claim:
        if not self.raw.exists(self.keys.member("job", job_id)):
            self.job(job_id, **changes)
        assert job_id in self.store.attempts.admit(1000).ids
        (claim,) = self.store.attempts.claim([job_id])
        return claim

    def due(self, job_id: str = "fox") -> Due:
        """Advance the clock to the job's alarm and claim it."""
        self.forward(max(self.alarm(job_id) or 0, 0))
        (due,) = [each for each in self.store.attempts.claim_due(1000).dues if each.job.id == job_id]
        return due

    def put(self, state: State, job_id: str = "fox", **changes: Any) -> None:
        """Enqueue a job and bring it into the state."""
        self.job(job_id, **changes)
        self.put_on(state, job_id)

    def put_on(self, state: State, job_id: str = "fox") -> None:
        """Bring an accepted job into the state."""
        store = self.store
        if state is State.QUEUED:
            return
        claim = self.claimed(job_id)
        if state in (State.IN_PROGRESS, State.EXPIRED):
            assert store.attempts.mark_in_progress(job_id, claim.fence, "t1")
        match state:
            case State.IN_DOUBT:
                assert store.attempts.mark_in_doubt(job_id, claim.fence, "read timed out")
            case State.COMPLETED:
                images = Result(output=IMAGES.output * store.jobs.get(job_id).n)
                assert store.attempts.finish(job_id, state, images, "callback").outcome == "finished"
            case State.FAILED:
                assert store.attempts.finish(
                    job_id, state, Result(error={"code": "x", "message": "no"}), "poll"
                ).outcome
            case State.CANCELLED:
                store.jobs.cancel(job_id)
            case State.EXPIRED:
                assert store.attempts.expire(self.due(job_id), 30.0).outcome == "expired"
        assert store.jobs.get(job_id).state is state


def new(job_id: str = "fox", text: str = '{"prompt":"a fox"}', *, owed: str = "", **changes: Any) -> NewJob:
    return NewJob(id=job_id, text=text, model="kirin_image_omni", owed=frozenset(map(Delivery, owed)), **changes)


@contextmanager
def bench_on(url: str) -> Iterator[Bench]:
    """A bench on an empty Redis."""
    client = connect(url)
    made = Bench(client, Store(client, Settings(image_store="a test's"), clock=CLOCK), Keys())
    made.wind_up()
    yield made
    client.close()


class OpenBench(Protocol):
    """The type of the fixture `open_bench`."""

    def __call__(self, url: str) -> AbstractContextManager[Bench]: ...


class MakeJob(Protocol):
    """The type of the fixture `make`: a job to enqueue. `owed` holds the letters of its deliveries."""

    def __call__(
        self, job_id: str = "fox", text: str = '{"prompt":"a fox"}', *, owed: str = "", **changes: Any
    ) -> NewJob: ...


class Priced(Protocol):
    """The type of the fixture `priced`: a result with images at that cost."""

    def __call__(self, cost: str) -> Result: ...


class InThread(Protocol):
    """The type of the fixture `in_thread`: starts work in a thread. Call the returned function to get its result."""

    def __call__(self, work: Callable[[], T]) -> Callable[..., T]: ...
