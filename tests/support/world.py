"""The worker's use cases without processes: real store, broker and provider, and a clock that the test advances."""

import base64
import json
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Protocol

import pytest

from jobs.connections.client import connect
from jobs.images.backends import RedisImages
from jobs.images.images import Images
from jobs.job import Delivery, Job
from jobs.new_job import NewJob
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from schemas import GenerationRequest
from tests.support.simulator import KEY, OTHER_KEY
from worker.app import create_app
from worker.deliver import Deliverer
from worker.messages import Messages
from worker.notification import Notifier
from worker.notifications import Notifications
from worker.provider import Provider
from worker.provider.image_cache import ImageCache
from worker.reconcile import Reconciler
from worker.sender import Sender
from worker.settings import Settings
from worker.submit import Submitter

#: Stands in for Redis's TIME: it stands still until the test advances it, however slow the machine is.
CLOCK = "local function clock() return tonumber(redis.call('GET', 'test:clock')) end\n"


def request_of(job_id: str = "job-1", **more: Any) -> GenerationRequest:
    """Return a small valid request."""
    return GenerationRequest(model="kirin_image_omni", params={"prompt": "a fox"}, external_task_id=job_id, **more)


class RequestOf(Protocol):
    """The type of the fixture `a_request`."""

    def __call__(self, job_id: str = "job-1", **more: Any) -> GenerationRequest: ...


class AtOnce(Executor):
    """Runs each call at once, in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class World:
    """The use cases on a real store, a real broker and the real simulator, with a clock that the test advances."""

    def __init__(self, url: str, provider_url: str, **settings: Any) -> None:
        given = {"connect_timeout": 1.0, "read_timeout": 1.0, "submit_lease": 60.0, "concurrency": 8, **settings}
        where = {"redis_url": url, "broker_url": url, "result_url": url, "provider_url": provider_url}
        self.settings = Settings(
            provider_key=KEY, provider_keys={"BOOMERANG_PROVIDER_KEY_OTHER": OTHER_KEY}, **{**where, **given}
        )
        # Any: redis-py's stubs give every answer two types.
        self.redis: Any = connect(url)
        self.redis.set("test:clock", self._real_time(), nx=True)
        self.store = Store(self.redis, self.settings, clock=CLOCK)
        self.providers = {lane.name: Provider(self.settings, lane) for lane in self.settings.lanes}
        self.provider = self.providers[self.settings.lanes[0].name]
        self.app = create_app(self.settings)
        self.messages = Messages(self.app)
        self.threads = ThreadPoolExecutor(8)
        self.binary: Any = connect(url, text=False)
        self.image_store = RedisImages(self.binary, Keys())
        self.images = Images(self.store.context.scripts, self.image_store, self.settings)
        self.image_cache = ImageCache(self.images, self.settings.image_memory)
        self.submitter = Submitter(self.store, self.providers, self.settings, self.threads, images=self.image_cache)
        self.reconciler = Reconciler(
            self.store, self.providers, self.settings, self.threads, self.messages, images=self.images
        )
        self.notifications = Notifications(
            self.store,
            Notifier(self.settings),
            Sender(AtOnce(), self.settings.max_notifying, threading.Event()),
        )
        self.deliverer = Deliverer(self.store, self.messages, self.notifications, self.threads, "celery")

    def close(self) -> None:
        self.threads.shutdown()
        for provider in self.providers.values():
            provider.close()
        self.app.close()
        self.redis.close()
        self.binary.close()

    def ahead(self, seconds: float) -> None:
        """Advance the store's clock."""
        self.redis.incrby("test:clock", round(seconds * 1_000_000))

    def catch_up(self) -> None:
        """Advance the store's clock to the real time, by which the simulator's tasks change."""
        self.redis.set("test:clock", max(self._now(), self._real_time()))

    def _real_time(self) -> int:
        seconds, micros = self.redis.time()
        return int(seconds * 1_000_000 + micros)

    def _now(self) -> int:
        return int(self.redis.get("test:clock"))

    def enqueue(self, *ids: str, **more: Any) -> None:
        owed = frozenset({Delivery.NOTIFY} if more.get("callback_url") else ())
        text = request_of(**more).text()
        jobs = [NewJob(id=job_id, text=text, model="kirin_image_omni", owed=owed) for job_id in ids]
        self.store.jobs.enqueue(jobs)

    def submit(self, *ids: str) -> None:
        """Admit and submit all jobs that may be admitted."""
        admitted = self.store.attempts.admit(500).ids
        self.submitter(ids or admitted)

    def start(self, *ids: str, **more: Any) -> None:
        """Enqueue and submit ("job-1" by default)."""
        ids = ids or ("job-1",)
        self.enqueue(*ids, **more)
        self.submit(*ids)

    def run_submits(self) -> int:
        """Handle the submit messages as a worker would. Return how many there were."""
        count = 0
        while (text := self.redis.rpop("boomerang.submit")) is not None:
            count += 1
            ids = json.loads(base64.b64decode(json.loads(text)["body"]))[0]
            if ids:
                self.submitter(ids)
        return count

    def round(self, seconds: float) -> None:
        """Advance the clock, run one round of reconcile, and the submissions that it admits."""
        self.ahead(seconds)
        self.reconciler()
        self.run_submits()

    def settle(self, job_id: str = "job-1", *, rounds: int = 40, seconds: float = 15) -> Job:
        """Run rounds until the job has ended."""
        for _ in range(rounds):
            if self.job(job_id).state.final:
                return self.job(job_id)
            self.round(seconds)
        pytest.fail(f"not settled: {self.job(job_id)}, {self.states(job_id)}")

    def job(self, job_id: str = "job-1") -> Job:
        return self.store.jobs.get(job_id)

    def states(self, job_id: str = "job-1") -> list[str]:
        """Return every state that the job has been in, oldest first."""
        return [fields["state"] for _, fields in self.redis.xrange("{b}:changes") if fields["id"] == job_id]

    def now(self) -> float:
        """Return the store's clock in seconds since 1970."""
        return self._now() / 1e6

    def held_for(self) -> float:
        """Return the seconds until the lane's hold ends."""
        return (int(self.redis.hget("{b}:lane:default", "hold") or 0) - self._now()) / 1e6

    def lane_counters(self) -> tuple[int, int, Decimal]:
        """Return slots, dispatched images and money spent as Redis counts them. `lane()` would use the real clock."""
        slots, dispatched, spent = self.redis.hmget("{b}:lane:default", "slots", "window", "spent")
        return int(slots or 0), int(dispatched or 0), Decimal(spent or 0) / 10**9

    def alarm_in(self, job_id: str = "job-1") -> float | None:
        """Return the seconds until the job's alarm."""
        score = self.redis.zscore("{b}:alarms", job_id)
        return None if score is None else (score - self._now()) / 1e6

    def messages_in(self, queue: str) -> int:
        return int(self.redis.llen(queue))


class MakeWorld(Protocol):
    """The type of the fixture `world`."""

    def __call__(self, provider_url: str = "", **settings: Any) -> World: ...
