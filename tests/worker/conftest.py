import asyncio
import base64
import contextlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web
from celery import Celery

from jobs.images.backends import RedisImages
from jobs.images.images import Images
from jobs.job import Delivery, Job
from jobs.new_job import NewJob
from jobs.store.redis_keys import Keys
from jobs.store.store import Store, connect
from ops.local import redis_server as redis_servers
from ops.simulator.server import create_app as create_simulator
from ops.simulator.settings import Settings as SimulatorSettings
from schemas import GenerationRequest
from worker.app import create_app
from worker.deliver import Deliverer
from worker.messages import Messages
from worker.notify import Notifier
from worker.provider import Provider
from worker.provider.image_cache import Pictures
from worker.reconcile import Reconciler
from worker.settings import Settings
from worker.submit import Submitter

ROOT = Path(__file__).parents[2]
TETHERED = (sys.executable, "-IS", str(redis_servers.TETHER))
KEY = "canary-provider-key-7f3a"
#: That of a second account.
OTHER_KEY = "canary-provider-key-9c1b"
SECRET = "a-callback-secret-for-tests"
#: Redis's clock, moved on by a key: a test waits for nothing.
MOVED_CLOCK = """
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2]) + tonumber(redis.call('GET', 'test:ahead') or 0)
end
"""


class Simulator:
    """A running simulator and its control calls."""

    def __init__(self) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        settings = SimulatorSettings(keys=frozenset({KEY, OTHER_KEY}), faults={"latency": "0"})
        runner = web.AppRunner(create_simulator(settings), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def close(self) -> None:
        self._http.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def reset(self) -> None:
        assert self._http.post(f"{self.url}/_sim/reset", timeout=5).ok

    def turn(self, **faults: Any) -> None:
        answer = self._http.put(f"{self.url}/_sim/faults", json=faults, timeout=5)
        assert answer.ok, answer.text

    def get(self, path: str) -> Any:
        return self._http.get(f"{self.url}{path}", timeout=5).json()

    def fired(self, name: str) -> int:
        return int(self.get("/_sim/stats")["fired"].get(name, 0))

    def calls(self, name: str) -> int:
        return int(self.get("/_sim/stats")["calls"].get(name, 0))

    def bought(self) -> tuple[int, int, str]:
        """Tasks created, external ids with more than one, money spent."""
        totals = self.get("/_sim/ledger?purchases=0")["totals"]
        return totals["tasks"], totals["bought_twice"], totals["spent"]


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    simulator = Simulator()
    yield simulator
    simulator.close()


@pytest.fixture
def simulator(_simulator: Simulator) -> Simulator:
    """The generation API, as new, over HTTP; tasks are done at once."""
    _simulator.reset()
    return _simulator


def request_of(job_id: str = "job-1", **more: Any) -> GenerationRequest:
    """A small valid request."""
    return GenerationRequest(model="kirin_image_omni", params={"prompt": "a fox"}, external_task_id=job_id, **more)


@pytest.fixture
def a_request() -> Callable[..., GenerationRequest]:
    return request_of


class World:
    """The use cases on a real store, a real broker and the real simulator, with a clock that a test moves."""

    def __init__(self, url: str, provider_url: str, **settings: Any) -> None:
        given = {"connect_timeout": 1.0, "read_timeout": 1.0, "submit_lease": 60.0, "concurrency": 8, **settings}
        where = {"redis_url": url, "broker_url": url, "result_url": url, "provider_url": provider_url}
        self.settings = Settings(
            provider_key=KEY, provider_keys={"BOOMERANG_PROVIDER_KEY_OTHER": OTHER_KEY}, **{**where, **given}
        )
        self.redis = connect(url)
        self.store = Store(self.redis, self.settings, clock=MOVED_CLOCK)
        self.providers = {lane.name: Provider(self.settings, lane) for lane in self.settings.lanes}
        self.provider = self.providers[self.settings.lanes[0].name]
        self.app = create_app(self.settings)
        self.messages = Messages(self.app)
        self.threads = ThreadPoolExecutor(8)
        self.binary = connect(url, text=False)
        self.image_store = RedisImages(self.binary, Keys())
        self.images = Images(self.store.scripts, self.image_store, self.settings)
        self.pictures = Pictures(self.images, self.settings.image_memory)
        self.submitter = Submitter(self.store, self.providers, self.settings, self.threads, pictures=self.pictures)
        self.reconciler = Reconciler(
            self.store, self.providers, self.settings, self.threads, self.messages, images=self.images
        )
        self.deliverer = Deliverer(self.store, self.messages, Notifier(self.settings), self.threads, "celery")

    def close(self) -> None:
        self.threads.shutdown()
        for provider in self.providers.values():
            provider.close()
        self.app.close()
        self.redis.close()
        self.binary.close()

    def ahead(self, seconds: float) -> None:
        """Redis's clock goes forward."""
        self.redis.incrby("test:ahead", int(seconds * 1_000_000))

    def enqueue(self, *ids: str, **more: Any) -> None:
        owed = frozenset({Delivery.NOTIFY} if more.get("callback_url") else ())
        text = request_of(**more).text()
        jobs = [NewJob(id=job_id, text=text, model="kirin_image_omni", owed=owed) for job_id in ids]
        self.store.enqueue(jobs)

    def submit(self, *ids: str) -> None:
        """Admit what may be admitted, and submit it."""
        admitted = self.store.admit(500).ids
        self.submitter(ids or admitted)

    def start(self, *ids: str, **more: Any) -> None:
        """Enqueue and submit ("job-1" by default)."""
        ids = ids or ("job-1",)
        self.enqueue(*ids, **more)
        self.submit(*ids)

    def run_submits(self) -> int:
        """Do what the messages to submit say, as a worker would. Returns how many there were."""
        count = 0
        while (text := self.redis.rpop("boomerang.submit")) is not None:
            count += 1
            ids = json.loads(base64.b64decode(json.loads(text)["body"]))[0]
            if ids:
                self.submitter(ids)
        return count

    def round(self, seconds: float) -> None:
        """So much later: one round of reconcile, and the submissions that it admits."""
        self.ahead(seconds)
        self.reconciler()
        self.run_submits()

    def settle(self, job_id: str = "job-1", *, rounds: int = 40, seconds: float = 15) -> Job:
        """Round after round, until the job has ended."""
        for _ in range(rounds):
            if self.job(job_id).state.final:
                return self.job(job_id)
            self.round(seconds)
        pytest.fail(f"not settled: {self.job(job_id)}, {self.states(job_id)}")

    def job(self, job_id: str = "job-1") -> Job:
        return self.store.get(job_id)

    def states(self, job_id: str = "job-1") -> list[str]:
        """Every state that the job has been in, oldest first."""
        return [fields["state"] for _, fields in self.redis.xrange("{b}:changes") if fields["id"] == job_id]

    def now(self) -> float:
        """The store's clock, in seconds since 1970."""
        seconds, micros = self.redis.time()
        return float(seconds + (micros + int(self.redis.get("test:ahead") or 0)) / 1e6)

    def held_for(self) -> float:
        """Seconds for which the lane is still held."""
        return int(self.redis.hget("{b}:lane:default", "hold") or 0) / 1e6 - self.now()

    def books(self) -> tuple[int, int, Decimal]:
        """Slots, window and money spent, as Redis counts them (`lane()` goes by the true clock, which a test moves)."""
        slots, window, spent = self.redis.hmget("{b}:lane:default", "slots", "window", "spent")
        return int(slots or 0), int(window or 0), Decimal(spent or 0) / 10**9

    def alarm_in(self, job_id: str = "job-1") -> float | None:
        """Seconds until someone must look at the job again."""
        score = self.redis.zscore("{b}:alarms", job_id)
        return None if score is None else score / 1e6 - self.now()

    def messages_in(self, queue: str) -> int:
        return int(self.redis.llen(queue))


@pytest.fixture
def world(redis_url: str, simulator: Simulator) -> Iterator[Callable[..., World]]:
    """`world(lookup_grace=2, …)`: everything but processes, wired with these settings."""
    made: list[World] = []

    def make(provider_url: str = "", **settings: Any) -> World:
        made.append(World(redis_url, provider_url or simulator.url, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Listener:
    """An HTTP server that notes every request; `answers` are the next statuses (then 204)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = listener.answers.pop(0) if listener.answers else 204
                listener.got.append((self.command, self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in listener.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, request: Any, client_address: Any) -> None:
                listener.connections += 1
                super().process_request(request, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture(scope="session")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate that it signed itself."""
    path = tmp_path_factory.mktemp("tls") / "self.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", str(path), "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls_server(_certificate: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A server with that certificate: its URL, and what it could decrypt."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate)
    got: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with contextlib.suppress(OSError), connection:
                    connection.settimeout(5)
                    with context.wrap_socket(connection, server_side=True) as secured:
                        got.append(secured.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}", got
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


class Processes:
    """Real processes from the environment alone; each is ended by its own id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, env: Mapping[str, str], *command: str) -> tuple[subprocess.Popen[bytes], Path]:
        """`celery -A worker.main:app <command>`; returns it with its log."""
        log = self._folder / f"{len(self._running)}-{command[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                # Tethered: it does not outlive this process, however that ends.
                [*TETHERED, str(os.getpid()), sys.executable, "-m", "celery", "-A", "worker.main:app", *command],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._running.append((process, log))
        return process, log

    def close(self) -> None:
        for process, _ in self._running:
            if process.poll() is None:
                process.terminate()
        for process, _ in self._running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment(redis_url: str, provider_url: str) -> dict[str, str]:
    return {
        "BOOMERANG_REDIS_URL": redis_url,
        "BOOMERANG_PROVIDER_URL": provider_url,
        "BOOMERANG_PROVIDER_KEY": KEY,
        "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",
        "BOOMERANG_POLL_FIRST": "0.2",
        "BOOMERANG_POLL_MAX": "0.5",
        "BOOMERANG_LOOKUP_GRACE": "0.5",
    }


@pytest.fixture
def env(redis_url: str, simulator: Simulator) -> dict[str, str]:
    """What a worker's process needs to know, and no more."""
    return environment(redis_url, simulator.url)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.close()


#: What `send_task` takes, and no request.
OPTIONS = {"chain", "link", "link_error", "countdown", "eta", "expires", "queue"}


class Service:
    """Worker and beat as processes on a Redis of their own, polling only; `producer` has nothing of ours."""

    start: Callable[..., "subprocess.Popen[bytes]"]
    workers: Sequence["subprocess.Popen[bytes]"]

    def __init__(self, url: str, simulator: Simulator, broker: str = "") -> None:
        self.broker = broker or url
        self.simulator = simulator
        self.env = {**environment(url, simulator.url), "BOOMERANG_BROKER_URL": self.broker}
        self.redis = connect(url)
        self.store = Store(self.redis, Settings(provider_key=KEY))
        self.producer = Celery("shop", broker=self.broker, backend=url, set_as_current=False)

    def close(self) -> None:
        # A result that nobody has asked for would unsubscribe when it is collected, long after its Redis has gone.
        consumer = self.producer.backend.result_consumer
        consumer.stop()
        consumer._pubsub = None
        self.producer.close()
        self.redis.close()

    def send(self, task_id: str, **given: Any) -> Any:
        """A producer's job, by the task's name; Celery's own options beside the request's."""
        options = {name: given.pop(name) for name in OPTIONS & given.keys()}
        kwargs = given or {"model": "kirin_image_omni", "prompt": "a fox"}
        return self.producer.send_task("boomerang.generate", kwargs=kwargs, task_id=task_id, **options)

    def enqueue(self, job_id: str) -> None:
        """A job of another door."""
        request = request_of(job_id)
        self.store.enqueue([NewJob(id=job_id, text=request.text(), model=request.model)])


@pytest.fixture(scope="session")
def run_service(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`with run_service(…) as service`: a service with these workers, each by its settings beyond the usual."""

    @contextlib.contextmanager
    def run(broker: str = "", workers: Sequence[Mapping[str, str]] = ({},)) -> Iterator[Service]:
        with redis_servers.running(tmp_path_factory.mktemp("service-redis"), durable=False) as server:
            simulator = Simulator()
            processes = Processes(tmp_path_factory.mktemp("service"))
            service = Service(server.url, simulator, broker)
            service.store.found(service.store.standing())
            service.start = lambda number, **more: processes.start(
                {**service.env, **more}, "worker", "-n", f"w{number}@localhost"
            )[0]
            service.workers = [service.start(number, **more) for number, more in enumerate(workers)]
            processes.start(service.env, "beat")
            yield service
            processes.close()
            service.close()
            simulator.close()

    return run


@pytest.fixture(scope="session")
def _service(run_service: Callable[..., Any]) -> Iterator[Service]:
    with run_service() as service:
        yield service


@pytest.fixture
def service(_service: Service) -> Service:
    """The service, its provider as new. Jobs of earlier tests are still there: take ids of your own."""
    _service.simulator.reset()
    return _service
