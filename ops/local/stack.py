"""The whole service on one machine, for the length of a `with` block."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.connections.client import connect
from jobs.settings import Settings
from jobs.store.store import Store
from ops.local import data_folder, processes
from ops.local.child import ChildSpec
from ops.local.redis_server import TRIES, Fsync, prepare
from ops.local.supervisor import Report, StartFailed, Supervisor

START_LIMIT = 60.0
#: Seconds between two looks at the children.
LOOK = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to start. `simulator`: its options, as on its command line; None runs against the real provider."""

    folder: Path
    port: int | None = None
    flower: bool = True
    simulator: str | None = ""
    #: more settings of the service, by their variables' names
    settings: Mapping[str, str] = field(default_factory=dict)
    #: a Redis for the jobs, and a broker, that run already; where they are empty, the stack starts its own
    redis_url: str = ""
    broker_url: str = ""
    #: whether warnings of the children's logs are reported too
    warnings: bool = True
    #: (process, its environment) -> the environment it gets, once the addresses are known
    reroute: Callable[[str, dict[str, str]], dict[str, str]] = lambda _, env: env


class LocalStack:
    """Both Redis servers, worker, beat, webhook, Flower and the simulator, supervised from a thread of their own.

    Entering raises FolderInUse, PortTaken, RedisCannotStart or StartFailed, with nothing left running. Leaving ends
    everything in order; `hurry()`, from a signal handler for instance, makes that an end at once.
    """

    def __init__(self, options: Options, report: Report, environ: Mapping[str, str] = os.environ) -> None:
        self._options = options
        self._report = report
        self._outside = dict(environ)
        self._held = ExitStack()
        self._up = threading.Event()
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._gone = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="stack")
        self._supervisor: Supervisor
        self.plan: processes.Plan
        #: for people: the operator's
        self.redis_url = self.broker_url = ""
        #: for each of their users (`ops.access`)
        self.state_urls: Mapping[str, str] = {}
        self.broker_urls: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        options = self._options
        with ExitStack() as held:
            folder = held.enter_context(data_folder.claimed(options.folder))
            ports = data_folder.choose_ports(folder, options.port)
            self.plan = processes.Plan(
                folder=folder,
                ports=ports,
                secrets=data_folder.load_secrets(folder),
                outside=self._outside,
                webhook_fd=held.enter_context(data_folder.listening(ports["webhook"])).fileno(),
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
        """Where producers reach the service."""
        return self.plan.url("webhook")

    @property
    def key(self) -> str:
        """A key that opens everything, unless producers' alone were given."""
        return self.plan.first_key

    @property
    def restarts(self) -> int:
        """How often a child that died was started again."""
        return self._supervisor.restarts

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return self._supervisor.pids()

    def wait(self) -> None:
        """Wait for the end: from outside (an exception of a signal handler), or by a failure, which is raised here."""
        self._gone.wait()
        if self._failure is not None:
            raise self._failure

    def hurry(self) -> None:
        """Do not wait for anybody any longer."""
        self._stopping.set()
        self._hurried.set()

    def _end(self) -> None:
        self._stopping.set()
        # Not by a join alone: one that an exception has interrupted takes the thread for ended ever after (bpo-45274).
        self._gone.wait()
        self._thread.join()

    # The rest runs in the stack's own thread: children end with the thread that started them.

    def _run(self) -> None:
        try:
            self._start()
            self._up.set()
            while not self._stopping.wait(LOOK):
                self._supervisor.tick()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            self._failure = error
        finally:
            self._supervisor.stop(processes.STOP_ORDER, hurry=self._hurried.is_set)
            self._up.set()
            self._gone.set()

    def _start(self) -> None:
        still: Callable[[], bool] = lambda: not self._stopping.is_set()  # noqa: E731
        for last in (*(False,) * TRIES, True):
            try:
                self._supervisor.start(self._servers(), START_LIMIT, still=still)
                break
            except StartFailed as error:
                self._supervisor.stop([processes.STATE, processes.BROKER])
                if last or "Address already in use" not in str(error):
                    raise
        _load_scripts(self.state_urls["worker"])
        specs = processes.service_parts(self.plan, self.state_urls, self.broker_urls)
        rerouted = [replace(spec, env=self._options.reroute(spec.name, dict(spec.env))) for spec in specs]
        self._supervisor.start(rerouted, START_LIMIT, still=still)

    def _servers(self) -> list[ChildSpec]:
        """Those of Redis that are to be started, and where all are."""
        given, specs = self._options, []
        self.redis_url, self.state_urls = given.redis_url, dict.fromkeys(processes.USERS, given.redis_url)
        self.broker_url, self.broker_urls = given.broker_url, dict.fromkeys(processes.USERS, given.broker_url)
        if not given.redis_url:
            state = prepare(self.plan.folder / "redis", fsync=Fsync.ALWAYS, users="state")
            self.redis_url, self.state_urls = state.url, state.urls
            specs.append(processes.redis_part(processes.STATE, state))
        if not given.broker_url:
            # A growing queue cannot fill the jobs' memory, and messages need not wait for the disk: they are hints.
            broker = prepare(self.plan.folder / "broker", fsync=Fsync.EVERYSEC, users="broker")
            self.broker_url, self.broker_urls = broker.url, broker.urls
            specs.append(processes.redis_part(processes.BROKER, broker))
        return specs


def _load_scripts(redis_url: str) -> None:
    """The webhook's user may run scripts and load none: else it would have to wait for the first worker."""
    client = connect(redis_url, most_connections=1)
    try:
        Store(client, Settings()).ping()
    finally:
        client.close()
