"""Run the whole service on this machine while a `with` block runs."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.api_keys import KeyRing
from jobs.connections.client import connect
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from ops.local import data_folder, processes
from ops.local.child import ChildSpec
from ops.local.redis_server import PORT_ATTEMPTS, Fsync, prepare
from ops.local.supervisor import Report, StartFailed, Supervisor

START_LIMIT = 60.0
#: Seconds between two checks of the child processes.
TICK = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to start. `simulator`: its command line options; None to use the real provider."""

    folder: Path
    port: int | None = None
    flower: bool = True
    simulator: str | None = ""
    #: further settings of the service, by variable
    settings: Mapping[str, str] = field(default_factory=dict)
    #: the jobs' Redis and the broker, if they run already; otherwise the stack starts its own
    redis_url: str = ""
    broker_url: str = ""
    #: whether warnings in the logs of the children are reported
    warnings: bool = True
    #: called with each process and its environment, once the addresses are known; returns the environment to use
    reroute: Callable[[str, dict[str, str]], dict[str, str]] = lambda _, env: env


class LocalStack:
    """Both Redis servers, worker, beat, webhook, Flower and the simulator, supervised by a thread.

    Entering raises FolderInUse, PortTaken, RedisCannotStart or StartFailed, and leaves nothing running. Leaving stops
    all processes in order. `stop_now()`, which a signal handler may call, kills those that still run.
    """

    def __init__(self, options: Options, report: Report, environ: Mapping[str, str] = os.environ) -> None:
        self._options = options
        self._report = report
        self._environ = dict(environ)
        self._held = ExitStack()
        self._up = threading.Event()
        self._stopping = threading.Event()
        self._impatient = threading.Event()
        self._gone = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="stack")
        self._supervisor: Supervisor
        self.plan: processes.Plan
        #: for the operator
        self.redis_url = self.broker_url = ""
        #: for each user (`ops.access`)
        self.state_urls: Mapping[str, str] = {}
        self.broker_urls: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        options = self._options
        with ExitStack() as held:
            folder = held.enter_context(data_folder.locked(options.folder))
            ports = data_folder.choose_ports(folder, options.port)
            self.plan = processes.Plan(
                folder=folder,
                ports=ports,
                secrets=data_folder.load_secrets(folder),
                environ=self._environ,
                webhook_fd=held.enter_context(data_folder.open_listener(ports["webhook"])).fileno(),
                flower=options.flower,
                simulator=options.simulator,
                settings=options.settings,
            )
            self._supervisor = Supervisor(folder, self._report, warnings=options.warnings)
            held.callback(self._end)
            self._thread.start()
            self._up.wait()
            if self._failure is not None:
                raise self._failure
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def url(self) -> str:
        """The address of the service for producers."""
        return self.plan.url("webhook")

    @property
    def key(self) -> str:
        """An administrator's key, unless the environment has producers' keys only."""
        return self.plan.first_key

    @property
    def restarts(self) -> int:
        """How many times a child process was restarted."""
        return self._supervisor.restarts

    def pids(self) -> dict[str, int]:
        """Return the process ids by name."""
        return self._supervisor.pids()

    def wait(self) -> None:
        """Wait until the stack stops, or a signal handler raises. Raises the failure that stopped the stack."""
        self._gone.wait()
        if self._failure is not None:
            raise self._failure

    def stop_now(self) -> None:
        """Stop all processes without waiting for their current work."""
        self._stopping.set()
        self._impatient.set()

    def _end(self) -> None:
        self._stopping.set()
        # A join that an exception interrupts treats the thread as ended from then on (bpo-45274).
        self._gone.wait()
        self._thread.join()

    # The rest runs in the stack's thread, because children end with the thread that started them.

    def _run(self) -> None:
        try:
            self._start()
            self._up.set()
            while not self._stopping.wait(TICK):
                self._supervisor.tick()
        except Exception as error:  # noqa: BLE001 - raised by __enter__ or wait
            self._failure = error
        finally:
            self._supervisor.stop(processes.STOP_ORDER, now=self._impatient.is_set)
            self._up.set()
            self._gone.set()

    def _start(self) -> None:
        wanted: Callable[[], bool] = lambda: not self._stopping.is_set()  # noqa: E731
        for last in (*(False,) * PORT_ATTEMPTS, True):
            try:
                self._supervisor.start(self._servers(), START_LIMIT, wanted=wanted)
                _load_scripts(self.state_urls["worker"])
                self._migrate_keys()
                self._supervisor.start(self._services(), START_LIMIT, wanted=wanted)
                break
            except StartFailed as error:
                self._supervisor.stop(processes.STOP_ORDER)
                if last or "address already in use" not in str(error).lower():
                    raise
                self.plan = replace(self.plan, ports=data_folder.replace_ports(self.plan.folder, self.plan.ports))

    def _migrate_keys(self) -> None:
        """Copy producers' keys that the version before stored, as the operator's user: no other may write them."""
        client = connect(self.redis_url, most_connections=1)
        try:
            ring = KeyRing(client, Keys())
            copied = frozenset(ring.migrate())
            for key in ring.all() if copied else ():
                if key.id in copied:
                    scopes = ", ".join(sorted(key.scopes))
                    self._report("keys", f"copied key {key.id} of {key.name} ({scopes}) from the version before")
        finally:
            client.close()

    def _services(self) -> list[ChildSpec]:
        specs = processes.service_processes(self.plan, self.state_urls, self.broker_urls, self.redis_url)
        return [replace(spec, env=self._options.reroute(spec.name, dict(spec.env))) for spec in specs]

    def _servers(self) -> list[ChildSpec]:
        """Set the addresses of both Redis servers, and describe those that are to be started."""
        given, specs = self._options, []
        self.redis_url, self.state_urls = given.redis_url, dict.fromkeys(processes.USERS, given.redis_url)
        self.broker_url, self.broker_urls = given.broker_url, dict.fromkeys(processes.USERS, given.broker_url)
        if not given.redis_url:
            state = prepare(self.plan.folder / "redis", fsync=Fsync.ALWAYS, users="state")
            self.redis_url, self.state_urls = state.url, state.urls
            specs.append(processes.redis_process(processes.STATE, state))
        if not given.broker_url:
            # A broker of its own, so that a long queue cannot fill the memory of the jobs. Its messages are hints.
            broker = prepare(self.plan.folder / "broker", fsync=Fsync.EVERYSEC, users="broker")
            self.broker_url, self.broker_urls = broker.url, broker.urls
            specs.append(processes.redis_process(processes.BROKER, broker))
        return specs


def _load_scripts(redis_url: str) -> None:
    """Load the scripts as the worker's user. The webhook's user cannot, and would wait for the first worker."""
    client = connect(redis_url, most_connections=1)
    try:
        Store(client, Settings()).ping()
    finally:
        client.close()
