"""A worker and a webhook that die at chosen points, with all that they need. The simulator's ledger is the judge."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests
from celery import Celery

from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.new_job import BatchOptions, NewJob
from jobs.notices import LEASE as LEASE_OF_NOTICES
from jobs.notices import NoticeClass
from jobs.producer_ids import given_id
from jobs.states import State
from jobs.store.store import Store
from jobs.task_names import GENERATE, RECONCILE
from ops.local.data_folder import open_listener
from ops.local.loopback import responds
from ops.local.redis_server import TETHER, running
from ops.simulator.fault_options import AT_REST
from schemas import load_request
from tests.chaos.points import CLOCK, FOLDER
from tests.support.listener import Listener
from tests.support.producers import own
from tests.support.waiting import load, wait_for
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
TETHERED = (sys.executable, "-IS", str(TETHER))
OWNER, KEY = "shop", "a-producers-key-for-tests"
ADMIN_KEY = "an-operators-key-for-tests"
#: Seconds. Longer than any lease and than the wait for a message.
ANY_LEASE = max(61.0, LEASE_OF_NOTICES + 1)
#: Slots of the lane. Jobs beyond these wait.
SLOTS = 6
#: The path at the listener to which notices to people go.
PEOPLE = "/people"
#: Seconds between two rounds of reconcile.
BEAT = 0.1
#: Seconds within which one run of a scenario reaches its point, and within which the service recovers.
REACHED, RECOVERED = 5.0, 40.0
#: Short delays. Those without a setting depend on Redis's clock, which the tests advance.
SETTINGS = {
    "BOOMERANG_POLL_FIRST": "0.2",
    "BOOMERANG_POLL_MAX": "0.5",
    "BOOMERANG_LOOKUP_GRACE": "0.4",
    "BOOMERANG_CONNECT_TIMEOUT": "1",
    "BOOMERANG_READ_TIMEOUT": "4",
    # One lane does all the work. The pool's other lane is on hold except where a scenario needs it.
    "BOOMERANG_LANES": json.dumps([{"name": "default", "max_in_flight": SLOTS}, {"name": "other"}]),
    "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",
    "BOOMERANG_IMAGE_RETENTION": "3600",
    "BOOMERANG_CALLBACK_SECRETS": "a-callback-secret-for-tests",
    "BOOMERANG_API_KEYS": f"{OWNER}:{KEY}",
    "BOOMERANG_ADMIN_KEYS": f"boss:{ADMIN_KEY}",
    "BOOMERANG_LINK_QUEUES": "*",
    # Its jobs that never began are notified, too.
    "BOOMERANG_KEY_LIMITS": json.dumps({OWNER: {"callback_hosts": ["127.0.0.1"]}}),
    "BOOMERANG_PROVIDER_KEY": "provider-key",
    "BOOMERANG_PROVIDER_KEY_OTHER": "other-key",
}
#: The provider accepts a repeated external id: what is sent twice is bought twice.
SIMULATOR = ("--key", "provider-key", "--key", "other-key", "--latency", "0.05", "--duplicates", "unnoticed")
#: Seconds for which a lane is on hold: years, because tests advance the clock by weeks.
FOR_EVER = 1e9


class GaveUp(Exception):
    """The webhook died before it answered, and this producer does not retry."""


@dataclass
class World:
    """One Redis, one simulator, one webhook, and one worker after another."""

    folder: Path
    store: Store
    app: Celery
    provider: str
    webhook: str
    worker: "subprocess.Popen[str]"
    listener: Listener
    #: ids of jobs whose acceptance their producers know
    accepted: set[str] = field(default_factory=set)
    #: how many purchases have been checked
    judged: int = 0
    named: int = 0
    worker_pid: int = 0
    beaten: float = 0.0

    def notifications(self, job_id: str) -> int:
        """Return how many notifications of the job have arrived."""
        return sum(json.loads(each.body).get("id") == given_id(job_id) for each in list(self.listener.received))

    def batch_events(self, batch: str, kind: str) -> set[str]:
        """Return the ids of the notifications of a batch that have arrived."""
        received = [(each, json.loads(each.body)) for each in list(self.listener.received)]
        of_batch = [each for each, body in received if body.get("type") == kind and body["data"]["id"] == batch]
        return {each.headers["webhook-id"] for each in of_batch}

    def notices(self, batch: str) -> int:
        """Return how many notices to people about the batch have arrived."""
        return sum(each.path == PEOPLE and batch in each.body.decode() for each in list(self.listener.received))

    # --- points -----------------------------------------------------------------------------------------------------

    def arm(self, point: str) -> None:
        """Kill the next process that reaches the point, once."""
        (self.folder / "died" / point).unlink(missing_ok=True)
        (self.folder / "armed" / point).touch()

    def disarm(self, point: str) -> bool:
        """Disarm the point. Return whether a process had died there."""
        try:
            (self.folder / "armed" / point).unlink()
        except FileNotFoundError:
            return self.until(lambda: self.died_at(point), REACHED)
        return False

    def died_at(self, point: str) -> int | None:
        """Return the id of the process that died at the point."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.folder / "died" / point).read_text())
        return None

    def seen(self) -> set[str]:
        """Return the observed effects as `<use case>:<effect>`, and what was observed without a name."""
        with suppress(FileNotFoundError):
            return set((self.folder / "seen").read_text().splitlines())
        return set()

    # --- time -------------------------------------------------------------------------------------------------------

    def ahead(self, seconds: float) -> None:
        """Advance Redis's clock."""
        self.store.context.client.incrby("test:ahead", int(seconds * 1e6))

    def shut(self, lane: str = "default") -> None:
        """Put the lane on hold."""
        self.store.lanes.hold("for a test", base=FOR_EVER, cap=FOR_EVER, lane=lane)

    def reopen(self, lane: str = "default") -> None:
        """End the lane's hold."""
        redis, keys = self.store.context.client, self.store.context.keys
        redis.hdel(keys.member("lane", lane), "hold", "level", "why", "since")

    def lose_data(self, happens: Callable[[], None]) -> None:
        """Make Redis forget all that `happens()` does, then run the recovery."""
        keys = self.store.context.keys
        with closing(connect(self.store.context.settings.redis_url, text=False)) as raw:
            before = {key: raw.dump(key) for key in raw.scan_iter(f"{keys.prefix}*")}
            happens()
            raw.delete(*raw.scan_iter(f"{keys.prefix}*"))
            for key, value in before.items():
                raw.restore(key, 0, value)  # type: ignore[arg-type]
        self.store.continuity.recover()

    def beat(self) -> None:
        """Send reconcile as beat does, but more often, unless the previous message is still waiting."""
        now = time.monotonic()
        if now - self.beaten > BEAT and self.store.context.client.llen(RECONCILE) == 0:
            self.beaten = now
            self.app.send_task(RECONCILE, queue=RECONCILE)

    def until(self, condition: Callable[[], object], limit: float, *, beating: bool = True) -> bool:
        """Wait until the condition is true. Return whether it was within `limit` seconds, or more under load."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > limit * load():
                return False
            if beating:
                self.beat()
            time.sleep(0.03)
        return True

    def redeliver(self) -> None:
        """Make the broker redeliver the messages that the dead worker has not acknowledged."""
        with self.app.connection_for_write() as connection:
            qos = connection.default_channel.qos
            qos.__dict__["visibility_timeout"] = -1
            while self.store.context.client.zcard("unacked_index"):
                qos.restore_visible(num=1000, interval=1)
        # By then Celery's claim of a chord's end by the dead worker has expired too.
        if claims := list(self.store.context.client.scan_iter("celery-taskset-meta-*.c", count=1000)):
            self.store.context.client.delete(*claims)

    # --- the worker -------------------------------------------------------------------------------------------------

    def start_worker(self) -> None:
        assert self.worker.stdin
        assert self.worker.stdout
        self.worker.stdin.write("\n")
        self.worker.stdin.flush()
        self.worker_pid = int(self.worker.stdout.readline())

    def renew(self) -> None:
        """Restore the initial state after a failed test."""
        with suppress(ProcessLookupError):
            os.kill(self.worker_pid, signal.SIGKILL)
        self.worker_ended()
        for armed in (self.folder / "armed").iterdir():
            armed.unlink()
        self.store.context.client.flushall()
        self.store.continuity.establish(self.store.continuity.standing())
        requests.post(f"{self.provider}/_sim/reset", timeout=10)
        self.accepted.clear()
        self.judged = 0
        self.shut("other")
        self.start_worker()

    def worker_ended(self) -> int:
        """Wait until the worker has ended. Return its exit code."""
        assert self.worker.stdout
        return int(self.worker.stdout.readline())

    # --- the provider -----------------------------------------------------------------------------------------------

    def turn(self, **faults: Any) -> None:
        answer = requests.put(f"{self.provider}/_sim/faults", json=faults, timeout=10)
        assert answer.ok, answer.text

    def calm(self, *, but: frozenset[str] = frozenset()) -> None:
        """End all faults except undetected repeats and those named in `but`."""
        rest = {**AT_REST, "latency": "0.05", "duplicates": "unnoticed"}
        self.turn(**{name: value for name, value in rest.items() if name not in but})

    def ledger(self) -> Any:
        return requests.get(f"{self.provider}/_sim/ledger", timeout=10).json()

    # --- producers --------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        self.named += 1
        return f"j{self.named}"

    def post(
        self,
        path: str,
        *,
        again: bool = True,
        refused: bool = False,
        key: str = KEY,
        method: str = "POST",
        **request: Any,
    ) -> requests.Response:
        """Send a request. Raise GaveUp if the webhook dies and the producer does not retry (`again`)."""
        for turn in range(50):
            try:
                answer = requests.request(
                    method, f"{self.webhook}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=20, **request
                )
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if not again:
                    raise GaveUp(path) from None
                continue
            # A repeated request may get 409, because the first one was carried out.
            assert answer.ok != refused or (turn and answer.status_code == requests.codes.conflict), answer.text
            return answer
        raise GaveUp(path)

    def job(self, *, again: bool = True, key: str = KEY, **params: Any) -> str:
        """Enqueue a job through the API. Returns the service's id of it."""
        job_id = self.new_id()
        self.post("/v1/jobs", again=again, key=key, json=request_of(external_task_id=job_id, **params))
        self.accepted.add(own(job_id, OWNER))
        return own(job_id, OWNER)

    def jobs_without_hints(self, count: int, batch: str | None = None) -> list[str]:
        """Enqueue jobs without sending a hint to any worker."""
        ids = [self.new_id() for _ in range(count)]
        requests_ = [load_request(request_of(external_task_id=job_id)) for job_id in ids]
        owner = "" if batch else OWNER
        lanes = self.store.context.settings.lanes
        jobs = [NewJob.of(each, job_id, lanes, owner=owner) for job_id, each in zip(ids, requests_, strict=True)]
        self.store.jobs.enqueue(jobs, batch, BatchOptions(owner=OWNER))
        self.accepted.update(ids)
        return ids

    def task(self, *, task_id: str = "", link: Any = None, **params: Any) -> str:
        """Enqueue a job through Celery."""
        task_id = task_id or self.new_id()
        self.app.send_task(GENERATE, kwargs=request_of(**params), task_id=task_id, link=link, queue="celery")
        self.accepted.add(params.get("external_task_id", task_id))
        return task_id

    def in_state(self, job_id: str, state: State) -> bool:
        """Wait briefly for the job to exist in the state. Return whether it does."""
        jobs = lambda: self.store.jobs.get_many([job_id])[0]  # noqa: E731
        return self.until(lambda: (job := jobs()) is not None and job.state is state, REACHED)

    def result(self, task_id: str) -> str:
        """Return the state of Celery's result."""
        return str(self.app.backend.get_state(task_id))

    # --- the verdict --------------------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        """Return whether all jobs have ended, without deliveries, watched jobs, sweeps or bulk actions left."""
        redis = self.store.context.client
        counts = self.store.statistics.totals().counts
        return (
            not any(count for state, count in counts.items() if not state.final)
            and not any(lane.slots or lane.dispatched for lane in self.store.lanes.get_all())
            and redis.zcard("{b}:alarms") == 0
            and redis.zcard("{b}:sweeps") == 0
            and redis.zcard("{b}:bulks") == 0
            and redis.zcard("{b}:saves") == 0
            and all(job is not None for job in self.store.jobs.get_many(sorted(self.accepted)))
        )

    def unfinished(self) -> str:
        """Return the unfinished jobs and alarms, for the failure message."""
        redis: Any = self.store.context.client
        left = [
            job for job in self.store.jobs.get_many(sorted(self.accepted)) if job and (not job.state.final or job.phase)
        ]
        now = (sum(int(part) * 10**6 ** (1 - place) for place, part in enumerate(redis.time()))) + int(
            redis.get("test:ahead") or 0
        )
        alarms = {name: (at - now) / 1e6 for name, at in redis.zrange("{b}:alarms", 0, 9, withscores=True)}
        return f"{self.store.lanes.get_all()}\n{left}\n{alarms}"

    def judge(self) -> None:
        """Check the promise against the provider's ledger. A recorded job counts as accepted, even if unanswered."""
        ledger = self.ledger()
        ids = sorted(self.accepted)
        jobs = self.store.jobs.get_many(ids)
        # nothing is lost
        lost = [job_id for job_id, job in zip(ids, jobs, strict=True) if not job or not job.state.final]
        assert lost == [], lost
        # nothing is bought twice, or without a job
        assert ledger["bought_twice"] == [], ledger["bought_twice"]
        bought = ledger["purchases"][self.judged :]
        of = [each["external_task_id"].partition("~")[0] for each in bought]
        unknown = [job_id for job_id, job in zip(of, self.store.jobs.get_many(of), strict=True) if not job]
        assert unknown == [], unknown
        paid = Counter(job_id for job_id, each in zip(of, bought, strict=True) if each["billed"])
        assert max(paid.values(), default=0) <= 1, paid
        # our total cost equals the provider's
        spent = self.store.statistics.totals().cost, Decimal(ledger["totals"]["spent"])
        assert spent[0] == spent[1], spent
        findings = audit(self.store)
        assert findings == [], findings
        self.judged = len(ledger["purchases"])
        self.accepted.clear()


def request_of(**params: Any) -> dict[str, Any]:
    return {"model": "kirin_image_omni", "prompt": "a fox", **params}


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Run the world until the block ends."""
    for name in ("armed", "died", "run"):
        (folder / name).mkdir()
    with ExitStack() as held:
        redis_url = held.enter_context(running(folder / "redis", durable=False)).url
        url_file = folder / "simulator.url"
        started = held.enter_context(_processes(folder))
        started("simulator", {}, "-m", "ops.simulator", "--url-file", str(url_file), *SIMULATOR)
        wait(url_file.exists)
        provider = url_file.read_text().strip()
        socket = held.enter_context(closing(open_listener(0)))
        web = f"http://127.0.0.1:{socket.getsockname()[1]}"
        where = {
            FOLDER: str(folder),
            "BOOMERANG_REDIS_URL": redis_url,
            "BOOMERANG_PROVIDER_URL": provider,
            "BOOMERANG_PUBLIC_URL": web,
            "BOOMERANG_RESULT_STORE": f"file://{folder / 'results'}",
        }
        env = {**SETTINGS, **where}
        gunicorn = ("-m", "gunicorn", "--config", "python:webhook.gunicorn_conf", "--bind", f"fd://{socket.fileno()}")
        started("webhook", env, *gunicorn, "tests.chaos.crashing:application", pass_fds=(socket.fileno(),))
        listener = held.enter_context(closing(Listener()))
        notices = {NoticeClass.BATCH_WAITS: f"json://127.0.0.1:{listener.port}{PEOPLE}"}
        # Deliveries wait for the save of what a poll ended, and not for that of what a callback ended.
        patient = {**env, "BOOMERANG_COMPLETE_WHEN_SAVED": "1", "BOOMERANG_NOTICES": json.dumps(notices)}
        worker = started("worker", patient, "-m", "tests.chaos.crashing")
        client = held.enter_context(closing(connect(redis_url)))
        app = Celery("producer", broker=redis_url, backend=redis_url, set_as_current=False)
        held.callback(_closed, app)
        store = Store(client, Settings.from_env(env), clock=CLOCK)
        store.continuity.establish(store.continuity.standing())
        made = World(folder, store, app, provider, web, worker, listener)
        wait(responds(f"{web}/healthz"))
        made.shut("other")
        made.start_worker()
        yield made


def _closed(app: Celery) -> None:
    # An unread result would unsubscribe when it is garbage-collected, long after its Redis has gone.
    app.backend.result_consumer.stop()
    app.backend.result_consumer._pubsub = None
    app.close()


@contextmanager
def _processes(folder: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    running: list[subprocess.Popen[str]] = []

    def start(name: str, env: Mapping[str, str], *command: str, **more: Any) -> "subprocess.Popen[str]":
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*TETHERED, str(os.getpid()), sys.executable, *command],
                cwd=folder / "run",
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if name == "worker" else log,
                stderr=log,
                text=True,
                **more,
            )
        running.append(process)
        return process

    try:
        yield start
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()


def wait(condition: Callable[[], object], limit: float = 30) -> None:
    wait_for(condition, limit, "it starts")
