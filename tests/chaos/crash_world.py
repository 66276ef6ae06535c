"""A worker and a webhook that die where they are told to, and all that they need; the simulator's ledger judges."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
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
from jobs.states import State
from jobs.store.store import Store
from jobs.task_names import GENERATE, RECONCILE
from ops.local.data_folder import open_listener
from ops.local.loopback import responds
from ops.local.redis_server import TETHER, running
from ops.simulator.fault_options import AT_REST
from schemas import load_request
from tests.chaos.points import CLOCK, FOLDER
from tests.support.http_server import Server
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
TETHERED = (sys.executable, "-IS", str(TETHER))
OWNER, KEY = "shop", "producer-key"
#: More than any lease: of a submission, of a round, of a delivery; and than a message is waited for.
ANY_LEASE = 61.0
#: Slots of the lane: more jobs than that wait.
SLOTS = 6
#: Seconds between two rounds of reconcile.
BEAT = 0.1
#: Seconds within which one try of a scenario comes to its point, and within which all is well after the crash.
REACHED, RECOVERED = 5.0, 40.0
#: Short where a setting can make it so; whatever cannot be set goes by Redis's clock, which is moved on.
SETTINGS = {
    "BOOMERANG_POLL_FIRST": "0.2",
    "BOOMERANG_POLL_MAX": "0.5",
    "BOOMERANG_LOOKUP_GRACE": "0.4",
    "BOOMERANG_CONNECT_TIMEOUT": "1",
    "BOOMERANG_READ_TIMEOUT": "4",
    # One does all the work, the other account of its pool is shut but where it is wanted.
    "BOOMERANG_LANES": json.dumps([{"name": "default", "max_in_flight": SLOTS}, {"name": "other"}]),
    "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",
    "BOOMERANG_IMAGE_RETENTION": "3600",
    "BOOMERANG_CALLBACK_SECRETS": "a-callback-secret-for-tests",
    "BOOMERANG_API_KEYS": f"{OWNER}:{KEY}",
    "BOOMERANG_PROVIDER_KEY": "provider-key",
    "BOOMERANG_PROVIDER_KEY_OTHER": "other-key",
}
#: A repeat under the same external id is not noticed: whatever is sent twice is bought twice.
SIMULATOR = ("--key", "provider-key", "--key", "other-key", "--latency", "0.05", "--duplicates", "unnoticed")
#: Seconds for which a lane is shut: years, also where a test moves the clock by weeks.
FOR_EVER = 1e9


class GaveUp(Exception):
    """The webhook died before it answered, and this producer does not ask again."""


@dataclass
class World:
    """One Redis, one simulator, one webhook, and one worker after another."""

    folder: Path
    store: Store
    app: Celery
    provider: str
    webhook: str
    worker: "subprocess.Popen[str]"
    listener: "Listener"
    #: ids of jobs whose producers were told that they are taken in
    accepted: set[str] = field(default_factory=set)
    #: how many purchases have been looked at
    judged: int = 0
    named: int = 0
    worker_pid: int = 0
    beaten: float = 0.0

    # --- points -----------------------------------------------------------------------------------------------------

    def arm(self, point: str) -> None:
        """Whoever comes there dies, once."""
        (self.folder / "died" / point).unlink(missing_ok=True)
        (self.folder / "armed" / point).touch()

    def disarm(self, point: str) -> bool:
        """Nobody dies there any more; whether somebody has."""
        try:
            (self.folder / "armed" / point).unlink()
        except FileNotFoundError:
            return self.until(lambda: self.died_at(point), REACHED)
        return False

    def died_at(self, point: str) -> int | None:
        """The id of the process that died there."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.folder / "died" / point).read_text())
        return None

    def seen(self) -> set[str]:
        """`<use case>:<effect>`, and what was seen without a name."""
        with suppress(FileNotFoundError):
            return set((self.folder / "seen").read_text().splitlines())
        return set()

    # --- time -------------------------------------------------------------------------------------------------------

    def ahead(self, seconds: float) -> None:
        """Redis's clock goes forward."""
        self.store.context.client.incrby("test:ahead", int(seconds * 1e6))

    def shut(self, lane: str = "default") -> None:
        """Nothing goes through that lane any more."""
        self.store.lanes.hold("for a test", base=FOR_EVER, cap=FOR_EVER, lane=lane)

    def reopen(self, lane: str = "default") -> None:
        """It does again."""
        redis, keys = self.store.context.client, self.store.context.keys
        redis.hdel(keys.member("lane", lane), "hold", "level", "why", "since")

    def lose_data(self, happens: Callable[[], None]) -> None:
        """Redis forgets what happens, and is told that it did."""
        keys = self.store.context.keys
        with closing(connect(self.store.context.settings.redis_url, text=False)) as raw:
            before = {key: raw.dump(key) for key in raw.scan_iter(f"{keys.prefix}*")}
            happens()
            raw.delete(*raw.scan_iter(f"{keys.prefix}*"))
            for key, value in before.items():
                raw.restore(key, 0, value)  # type: ignore[arg-type]
        self.store.continuity.recover()

    def beat(self) -> None:
        """What beat does, but more often; unless the one before was not taken yet."""
        now = time.monotonic()
        if now - self.beaten > BEAT and self.store.context.client.llen(RECONCILE) == 0:
            self.beaten = now
            self.app.send_task(RECONCILE, queue=RECONCILE)

    def until(self, condition: Callable[[], object], limit: float, *, beating: bool = True) -> bool:
        """Whether it comes true in time."""
        end = time.monotonic() + limit
        while not condition():
            if time.monotonic() > end:
                return False
            if beating:
                self.beat()
            time.sleep(0.03)
        return True

    def redeliver(self) -> None:
        """The broker has waited long enough for the dead worker's acknowledgements."""
        with self.app.connection_for_write() as connection:
            qos = connection.default_channel.qos
            qos.__dict__["visibility_timeout"] = -1
            while self.store.context.client.zcard("unacked_index"):
                qos.restore_visible(num=1000, interval=1)
        # By then Celery's claim of a chord's end, which a worker may have died with, has run out, too.
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
        """As at the start, whatever a test has left behind."""
        with suppress(ProcessLookupError):
            os.kill(self.worker_pid, signal.SIGKILL)
        self.worker_ended()
        for armed in (self.folder / "armed").iterdir():
            armed.unlink()
        self.store.context.client.flushall()
        requests.post(f"{self.provider}/_sim/reset", timeout=10)
        self.accepted.clear()
        self.judged = 0
        self.shut("other")
        self.start_worker()

    def worker_ended(self) -> int:
        """How the worker ended, once it has."""
        assert self.worker.stdout
        return int(self.worker.stdout.readline())

    # --- the provider -----------------------------------------------------------------------------------------------

    def turn(self, **faults: Any) -> None:
        answer = requests.put(f"{self.provider}/_sim/faults", json=faults, timeout=10)
        assert answer.ok, answer.text

    def calm(self, *, but: frozenset[str] = frozenset()) -> None:
        """No faults, but that repeats are bought twice; and these knobs stay as they are."""
        rest = {**AT_REST, "latency": "0.05", "duplicates": "unnoticed"}
        self.turn(**{name: value for name, value in rest.items() if name not in but})

    def ledger(self) -> Any:
        return requests.get(f"{self.provider}/_sim/ledger", timeout=10).json()

    # --- producers --------------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        self.named += 1
        return f"j{self.named}"

    def post(
        self, path: str, *, again: bool = True, refused: bool = False, key: str = KEY, **request: Any
    ) -> requests.Response:
        """Raises GaveUp where the webhook dies and the producer does not send it `again`."""
        for turn in range(50):
            try:
                answer = requests.post(
                    f"{self.webhook}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=20, **request
                )
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                if not again:
                    raise GaveUp(path) from None
                continue
            # A repeat may be told that there is nothing left to do.
            assert answer.ok != refused or (turn and answer.status_code == requests.codes.conflict), answer.text
            return answer
        raise GaveUp(path)

    def job(self, *, again: bool = True, key: str = KEY, **params: Any) -> str:
        """A job, by way of the API."""
        job_id = self.new_id()
        self.post("/v1/jobs", again=again, key=key, json=request_of(external_task_id=job_id, **params))
        self.accepted.add(job_id)
        return job_id

    def jobs_in_silence(self, count: int, batch: str | None = None) -> list[str]:
        """Jobs of which no worker is told."""
        ids = [self.new_id() for _ in range(count)]
        requests_ = [load_request(request_of(external_task_id=job_id)) for job_id in ids]
        owner = "" if batch else OWNER
        lanes = self.store.context.settings.lanes
        jobs = [NewJob.of(each, job_id, lanes, owner=owner) for job_id, each in zip(ids, requests_, strict=True)]
        self.store.jobs.enqueue(jobs, batch, BatchOptions(owner=OWNER))
        self.accepted.update(ids)
        return ids

    def task(self, *, task_id: str = "", link: Any = None, **params: Any) -> str:
        """A job, by way of Celery."""
        task_id = task_id or self.new_id()
        self.app.send_task(GENERATE, kwargs=request_of(**params), task_id=task_id, link=link, queue="celery")
        self.accepted.add(params.get("external_task_id", task_id))
        return task_id

    def in_state(self, job_id: str, state: State) -> bool:
        """Whether the job is (yet) there, and comes to that state soon."""
        jobs = lambda: self.store.jobs.get_many([job_id])[0]  # noqa: E731
        return self.until(lambda: (job := jobs()) is not None and job.state is state, REACHED)

    def result(self, task_id: str) -> str:
        """The state in which Celery's result is."""
        return str(self.app.backend.get_state(task_id))

    # --- judgement --------------------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        """Whether all jobs have ended, and nothing is owed, watched or told any more."""
        redis = self.store.context.client
        counts = self.store.statistics.totals().counts
        return (
            not any(count for state, count in counts.items() if not state.final)
            and not any(lane.slots or lane.dispatched for lane in self.store.lanes.get_all())
            and redis.zcard("{b}:alarms") == 0
            and redis.zcard("{b}:sweeps") == 0
            and all(job is not None for job in self.store.jobs.get_many(sorted(self.accepted)))
        )

    def unfinished(self) -> str:
        """What is left to do, for whoever has to find out why."""
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
        """By the provider's own ledger. What is recorded was accepted, whether its producer was told or not."""
        ledger = self.ledger()
        ids = sorted(self.accepted)
        jobs = self.store.jobs.get_many(ids)
        # nothing is lost
        lost = [job_id for job_id, job in zip(ids, jobs, strict=True) if not job or not job.state.final]
        assert lost == [], lost
        # nothing is bought twice, nor for nobody
        assert ledger["bought_twice"] == [], ledger["bought_twice"]
        bought = ledger["purchases"][self.judged :]
        of = [each["external_task_id"].partition("~")[0] for each in bought]
        unknown = [job_id for job_id, job in zip(of, self.store.jobs.get_many(of), strict=True) if not job]
        assert unknown == [], unknown
        paid = Counter(job_id for job_id, each in zip(of, bought, strict=True) if each["billed"])
        assert max(paid.values(), default=0) <= 1, paid
        # our books are the provider's, from the first day on
        spent = self.store.statistics.totals().cost, Decimal(ledger["totals"]["spent"])
        assert spent[0] == spent[1], spent
        findings = audit(self.store)
        assert findings == [], findings
        self.judged = len(ledger["purchases"])
        self.accepted.clear()


def request_of(**params: Any) -> dict[str, Any]:
    return {"model": "kirin_image_omni", "prompt": "a fox", **params}


class Listener:
    """Where producers are notified."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        told = self.told

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told[json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"]] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """All of it, for the length of a block."""
    for name in ("armed", "died", "run"):
        (folder / name).mkdir()
    with ExitStack() as held:
        redis_url = held.enter_context(running(folder / "redis", durable=False)).url
        url_file = folder / "simulator.url"
        started = held.enter_context(_processes(folder))
        started("simulator", {}, "-m", "ops.simulator", "--url-file", str(url_file), *SIMULATOR)
        wait(url_file.exists)
        provider = url_file.read_text().strip()
        door = held.enter_context(closing(open_listener(0)))
        web = f"http://127.0.0.1:{door.getsockname()[1]}"
        where = {
            FOLDER: str(folder),
            "BOOMERANG_REDIS_URL": redis_url,
            "BOOMERANG_PROVIDER_URL": provider,
            "BOOMERANG_PUBLIC_URL": web,
        }
        env = {**SETTINGS, **where}
        gunicorn = ("-m", "gunicorn", "--config", "python:webhook.gunicorn_conf", "--bind", f"fd://{door.fileno()}")
        started("webhook", env, *gunicorn, "tests.chaos.crashing:application", pass_fds=(door.fileno(),))
        worker = started("worker", env, "-m", "tests.chaos.crashing")
        client = held.enter_context(closing(connect(redis_url)))
        app = Celery("producer", broker=redis_url, backend=redis_url, set_as_current=False)
        held.callback(_closed, app)
        listener = held.enter_context(closing(Listener()))
        store = Store(client, Settings.from_env(env), clock=CLOCK)
        store.continuity.establish(store.continuity.standing())
        made = World(folder, store, app, provider, web, worker, listener)
        wait(responds(f"{web}/healthz"))
        made.shut("other")
        made.start_worker()
        yield made


def _closed(app: Celery) -> None:
    # A result that nobody has asked for would unsubscribe when it is collected, long after its Redis has gone.
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
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it does not start"
        time.sleep(0.02)
