"""Hostile tenants beside an honest producer, and what that producer notices."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from boomerang_client import BoomerangError, Client, Status
from jobs.api_keys import PRODUCER, KeyRing
from jobs.connections.client import connect
from jobs.store.redis_keys import Keys
from ops.bench.deliveries import HangingServer
from tests.chaos.harness import Chaos
from tests.chaos.measured import PRESS, Measured, Spread, Weather
from tests.chaos.tenants import FLOOD, THIEF, Target
from tests.support.producers import LOCAL

#: Receivers are on loopback.
SETTINGS = {
    "BOOMERANG_KEY_LIMITS": json.dumps({name: {"callback_hosts": ["127.0.0.1"]} for name in (FLOOD, PRESS)}),
}
ROOT = Path(__file__).parents[2]


@dataclass
class Siege:
    """Tenants that attack, and a producer that is measured, until `end()`.

    `answers`: how often each attack was answered how. `stolen`: each call with another producer's id that succeeded.
    """

    running: Chaos
    measured: Measured
    flood: Client
    process: subprocess.Popen[bytes]
    weather: Weather = field(default_factory=Weather)
    answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stolen: list[str] = field(default_factory=list)

    def end(self) -> None:
        """End the attacks, cancel what they enqueued, and wait for the measured jobs. Repeats do nothing."""
        if self.process.returncode is not None:
            return
        self.measured.stop()
        report, _ = self.process.communicate(timeout=120)
        found: dict[str, Any] = json.loads(report)
        self.answers, self.stolen = found["answers"], found["stolen"]
        self.running.wait_for(self._is_cancelled, 120, "the jobs of the flood are cancelled")
        self.running.wait_for(lambda: not self.measured.not_notified, 600, "every measured job is notified")
        self.running.wait_for(lambda: self.running.store.lanes.get().slots == 0, 180, "every slot comes back")

    def _is_cancelled(self) -> bool:
        with suppress(BoomerangError):
            for batch in self.flood.batches(status="running"):
                self.flood.cancel_batch(batch)
            for status in (Status.QUEUED, Status.IN_PROGRESS):
                for job in self.flood.jobs(status=status):
                    self.flood.cancel(job.id)
            return True
        return False

    def start_delays(self) -> Spread:
        """Return the seconds until the measured jobs began."""
        simulator = self.running.stack.plan.url("simulator")
        purchases = requests.get(f"{simulator}/_sim/ledger", timeout=60).json()["purchases"]
        return self.measured.start_delays(self.weather, purchases)

    def callbacks(self) -> Spread:
        """Return the seconds until callbacks were answered."""
        return self.measured.callbacks(self.weather)


@contextmanager
def besieged(running: Chaos, jobs: int, seed: int, batch: str = "chaos") -> Iterator[Siege]:
    """Attack until the block ends. The honest producer's batch is `batch`, of `jobs` jobs."""
    plan = running.stack.plan
    with ExitStack() as held:
        with connect(running.stack.redis_url, most_connections=1) as client:
            keys = {name: KeyRing(client, Keys()).add(name, PRODUCER)[1] for name in (FLOOD, THIEF, PRESS)}
        hanging = held.enter_context(closing(HangingServer()))
        target = Target(
            url=running.stack.url,
            broker=running.stack.broker_urls["producer"],
            keys=keys,
            hanging=hanging.url,
            victim=LOCAL,
            batch=batch,
            jobs=jobs,
        )
        measured = held.enter_context(Measured(running.stack.url, keys[PRESS], plan.secrets.callback_secret))
        flood = held.enter_context(Client(running.stack.url, keys[FLOOD]))
        process = held.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.tenants"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=held.enter_context((plan.folder / "tenants.log").open("wb")),
            )
        )
        held.callback(process.kill)
        assert process.stdin is not None
        process.stdin.write(json.dumps({"target": asdict(target), "seed": seed}).encode() + b"\n")
        process.stdin.flush()
        yield Siege(running, measured, flood, process)
