"""The whole stack with a proxy between each pair of its processes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from boomerang_client import Client
from jobs.store import Store
from ops.stack import LocalStack, Options
from tests.chaos.proxy import Proxy
from tests.stack.judge import SETTINGS, Outcome, opened, outcome_of, promise_is_kept, requests_of

#: Each wire: the process at its one end, and the variables of that process that name the other.
WIRES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "worker-state": ("worker", ("BOOMERANG_REDIS_URL",)),
    "worker-broker": ("worker", ("BOOMERANG_BROKER_URL", "BOOMERANG_RESULT_URL")),
    "worker-provider": ("worker", ("BOOMERANG_PROVIDER_URL",)),
    "webhook-state": ("webhook", ("BOOMERANG_REDIS_URL",)),
    "webhook-broker": ("webhook", ("BOOMERANG_BROKER_URL",)),
    "beat-broker": ("beat", ("BOOMERANG_BROKER_URL",)),
    # The worker tells the provider where to call back.
    "provider-webhook": ("worker", ("BOOMERANG_PUBLIC_URL",)),
}


@dataclass
class Chaos:
    """A stack in trouble. `wires`: what stands between its processes."""

    stack: LocalStack
    store: Store
    client: Client
    wait_for: Callable[..., None]
    wires: dict[str, Proxy] = field(default_factory=dict)

    def enqueue(self, count: int, batch: str = "chaos") -> None:
        """A batch of so many jobs, by way of the API."""
        accepted = self.client.enqueue_batch(list(requests_of(count)), id=batch)
        assert (accepted.accepted, accepted.rejected) == (count, 0)

    def ended(self, batch: str = "chaos") -> int:
        """How many jobs of a batch have ended."""
        counts = self.store.batch(batch).counts
        return sum(number for state, number in counts.items() if state.final)

    def until_ended(self, count: int, batch: str = "chaos", timeout: float = 60) -> None:
        """Wait until so many have."""
        self.wait_for(lambda: self.ended(batch) >= count, timeout=timeout, message=f"{count} jobs end")

    def promise_is_kept(self, count: int, batch: str = "chaos", timeout: float = 120) -> Outcome:
        """All jobs end, and the provider's ledger says what our books say."""
        self.wait_for(lambda: self.store.batch(batch).done, timeout=timeout, message="every accepted job ends")
        outcome = outcome_of(self.stack, self.store, self.client, batch, self.wait_for)
        promise_is_kept(outcome, count)
        return outcome


@contextmanager
def chaos(
    folder: Path, wait_for: Callable[..., None], simulator: str = "--latency 0.2", settings: Mapping[str, str] = {}
) -> Iterator[Chaos]:
    """The stack, in good weather at first."""
    with ExitStack() as held:
        wires: dict[str, Proxy] = {}

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
            return env

        options = Options(
            folder=folder,
            flower=False,
            simulator=simulator,
            settings={**SETTINGS, **settings},
            warnings=False,
            reroute=reroute,
        )
        # The proxies end after the processes that use them.
        stack = held.enter_context(LocalStack(options, lambda *_: None))
        client = held.enter_context(Client(stack.url, stack.key))
        store = held.enter_context(opened(stack))
        yield Chaos(stack, store, client, wait_for, wires)
