"""The whole stack with a proxy between each pair of its processes, and faults for its processes."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
import requests
from redis.backoff import NoBackoff
from redis.retry import Retry

from boomerang_client import Client
from jobs.errors import StoreUnavailable
from jobs.states import State
from jobs.store.store import Store
from ops.local.child import Child, ChildSpec
from ops.local.stack import LocalStack, Options
from tests.chaos.proxy import Proxy
from tests.support.admin import with_admin
from tests.support.producers import LOCAL, own
from tests.support.verdict import SETTINGS, Outcome, opened, outcome_of, promise_is_kept, requests_of
from tests.support.waiting import WaitFor

#: Each wire: the process at one end, and that process's variables with the address of the other.
WIRES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "worker-state": ("worker", ("BOOMERANG_REDIS_URL",)),
    "worker-broker": ("worker", ("BOOMERANG_BROKER_URL", "BOOMERANG_RESULT_URL")),
    "worker-provider": ("worker", ("BOOMERANG_PROVIDER_URL",)),
    "webhook-state": ("webhook", ("BOOMERANG_REDIS_URL",)),
    "webhook-broker": ("webhook", ("BOOMERANG_BROKER_URL",)),
    "beat-broker": ("beat", ("BOOMERANG_BROKER_URL",)),
    # The worker sends this address to the provider.
    "provider-webhook": ("worker", ("BOOMERANG_PUBLIC_URL",)),
}


#: The processes' logs show whether a fault took effect.
TALKATIVE = {"CELERY_WORKER_LOGLEVEL": "INFO", "CELERY_BEAT_LOGLEVEL": "INFO"}


@dataclass
class Chaos:
    """A running stack with faults. `wires` are the proxies between its processes, `environments` their variables.

    `state` and `broker` are clients of the two Redis servers with all permissions, which bypass the proxies.
    """

    stack: LocalStack
    store: Store
    client: Client
    state: redis.Redis
    broker: redis.Redis
    wait_for: WaitFor
    wires: dict[str, Proxy] = field(default_factory=dict)
    environments: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)

    def enqueue(self, count: int, batch: str = "chaos") -> None:
        """Enqueue a batch of `count` jobs through the API."""
        accepted = self.client.enqueue_batch(list(requests_of(count)), id=batch)
        assert (accepted.accepted, accepted.rejected) == (count, 0)

    def ended(self, batch: str = "chaos") -> int:
        """Return how many jobs of a batch have ended."""
        return sum(number for state, number in self.states(batch).items() if state.final)

    def until_ended(self, count: int, batch: str = "chaos", timeout: float = 60) -> None:
        """Wait until `count` jobs of a batch have ended."""
        self.wait_for(lambda: self.ended(batch) >= count, timeout=timeout, message=f"{count} jobs end")

    def states(self, batch: str = "chaos") -> Mapping[State, int]:
        """Return how many jobs of a batch are in each state."""
        return self.patiently(lambda: self.store.batches.get(own(batch, LOCAL)).counts)

    def patiently(self, read: Callable[[], Any]) -> Any:
        """Return `read()` as soon as the jobs' Redis answers again."""
        answers: list[Any] = []

        def answered() -> bool:
            with suppress(StoreUnavailable):
                answers.append(read())
            return bool(answers)

        self.wait_for(answered, timeout=60, message="the state answers")
        return answers[0]

    # --- processes --------------------------------------------------------------------------------------------------

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process, and wait until its successor runs."""
        pid = self._pid(name)
        os.kill(pid, how)
        self.wait_for(lambda: self.stack.pids().get(name, pid) != pid, timeout=60, message=f"{name} is started again")

    def end(self, name: str) -> None:
        """End a process by SIGTERM, as a deployment does, and wait until its successor runs."""
        self.kill(name, signal.SIGTERM)

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Suspend a process by SIGSTOP until the block ends: it keeps its leases and connections, and does nothing."""
        pid = self._pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            self.wait_for(lambda: _is_stopped(pid), message=f"{name} stands still")
            yield
        finally:
            # Unless it was killed meanwhile.
            if self.stack.pids().get(name) == pid:
                os.kill(pid, signal.SIGCONT)

    @contextmanager
    def another(self, name: str) -> Iterator[Callable[[], str]]:
        """Run one more worker or beat, with the environment of the first. Yield a function that returns its log."""
        command = (sys.executable, "-m", "celery", "-A", "worker.main:app", name)
        node = ("-n", "another@%h") if name == "worker" else ()
        folder = self.stack.plan.folder
        spec = ChildSpec(name=f"another-{name}", argv=(*command, *node), env=self.environments[name])
        child = Child(spec, folder / "logs", folder / "run")
        try:
            yield lambda: child.log.read_text("utf-8", errors="replace")
        finally:
            child.terminate()
            try:
                child.process.wait(40)
            finally:
                child.kill_all()

    def count_in_log(self, name: str, text: str) -> int:
        """Return how often the text occurs in a process's log."""
        return self.log(name).count(text)

    def log(self, name: str) -> str:
        """Return a process's log."""
        return (self.stack.plan.folder / "logs" / f"{name}.log").read_text("utf-8", errors="replace")

    def _pid(self, name: str) -> int:
        self.wait_for(lambda: name in self.stack.pids(), timeout=60, message=f"{name} runs")
        return self.stack.pids()[name]

    # --- the provider -----------------------------------------------------------------------------------------------

    def turn(self, **faults: Any) -> None:
        """Set faults of the simulator."""
        requests.put(f"{self.stack.plan.url('simulator')}/_sim/faults", json=faults, timeout=10).raise_for_status()

    def fired(self, *faults: str) -> int:
        """Return how often these faults have fired."""
        fired = requests.get(f"{self.stack.plan.url('simulator')}/_sim/stats", timeout=10).json()["fired"]
        return sum(int(fired.get(fault, 0)) for fault in faults)

    def end_faults(self) -> None:
        """End all faults of wires and provider. The reset also deletes the provider's tasks."""
        for proxy in self.wires.values():
            proxy.clear()
        requests.post(f"{self.stack.plan.url('simulator')}/_sim/reset", timeout=10).raise_for_status()

    # --- the verdict ------------------------------------------------------------------------------------------------

    def promise_is_kept(self, count: int, batch: str = "chaos", timeout: float = 120) -> Outcome:
        """Wait until all jobs have ended, and check them against the provider's ledger."""

        def done() -> bool:
            return bool(self.patiently(lambda: self.store.batches.get(own(batch, LOCAL)).done))

        self.wait_for(done, timeout=timeout, message="every accepted job ends")
        outcome = outcome_of(self.stack, self.store, self.client, batch, self.wait_for)
        promise_is_kept(outcome, count)
        return outcome


@contextmanager
def chaos(
    folder: Path,
    wait_for: WaitFor,
    simulator: str = "--latency 0.2",
    settings: Mapping[str, str] = {},
    worker: Mapping[str, str] = {},
) -> Iterator[Chaos]:
    """Run the stack, at first without faults. `worker` holds more variables for that process only."""
    with ExitStack() as held:
        wires: dict[str, Proxy] = {}
        environments: dict[str, dict[str, str]] = {}

        def reroute(process: str, env: dict[str, str]) -> dict[str, str]:
            for wire, (end, variables) in WIRES.items():
                if end != process:
                    continue
                target = urlsplit(env[variables[0]])
                assert target.port is not None
                proxy = held.enter_context(Proxy(target.port))
                wires[wire] = proxy
                for variable in variables:
                    env[variable] = env[variable].replace(f":{target.port}", f":{proxy.port}", 1)
            environments[process] = {**env, **TALKATIVE, **(worker if process == "worker" else {})}
            return environments[process]

        options = Options(
            folder=folder,
            flower=False,
            simulator=simulator,
            settings={**SETTINGS, **settings},
            warnings=False,
            reroute=reroute,
        )
        # The proxies must end after the processes that use them.
        held.enter_context(with_admin(folder.with_name(f"{folder.name}-access")))
        stack = held.enter_context(LocalStack(options, lambda *_: None))
        client = held.enter_context(Client(stack.url, stack.key))
        store = held.enter_context(opened(stack))
        admins = [urls["admin"] for urls in (stack.state_urls, stack.broker_urls)]
        state, broker = (held.enter_context(closing(_redis(url))) for url in admins)
        yield Chaos(stack, store, client, state, broker, wait_for, wires, environments)


def _redis(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=10, retry=Retry(NoBackoff(), 0))


def _is_stopped(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    return state == "T"
