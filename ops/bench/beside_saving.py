"""What the submit path costs with and without a result store, in turn in one run."""

import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import requests

from ops.bench.harness import stack, until
from ops.bench.probe import CPU, process_costs
from ops.bench.rates import whole_path
from ops.local.stack import LocalStack

#: Jobs that load modules and open connections before anything is measured.
_WARM_UP = 200


@dataclass
class Beside:
    """Jobs per second, and CPU µs per job of each process, of each turn."""

    rates: list[float] = field(default_factory=list)
    costs: list[dict[str, float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median of the rates."""
        return statistics.median(self.rates)

    def cpu(self, *names: str) -> float:
        """Return the median of the CPU time of these processes; without names, of all."""
        return statistics.median(sum(run[name] for name in names or run) for run in self.costs)


def measure(jobs: int, turns: int) -> tuple[Beside, Beside]:
    """Return the costs without saving and with it. Jobs are saved while others are submitted."""
    without, beside = Beside(), Beside()
    for turn in range(turns):
        # Not the same one first each time: what runs second has a warmer machine.
        for measured, store in ((without, ""), (beside, None))[:: 1 if turn % 2 == 0 else -1]:
            with tempfile.TemporaryDirectory(prefix="boomerang-bench-") as name:
                settings = {} if store is None else {"BOOMERANG_RESULT_STORE": store}
                with stack(Path(name), "--latency 0", settings) as running:
                    _measure(running, jobs, measured, saves=store is None)
    return without, beside


def _measure(running: LocalStack, jobs: int, measured: Beside, *, saves: bool) -> None:
    whole_path(running, _WARM_UP, "warm-up")
    if saves:
        until(lambda: _saved(running, "warm-up") == _WARM_UP)
    before = process_costs(running.pids())
    measured.rates.append(whole_path(running, jobs, "measured"))
    spent = process_costs(running.pids())
    spent.subtract(before)
    measured.costs.append({name: value / jobs for (name, what), value in spent.items() if what == CPU})


def _saved(running: LocalStack, batch: str) -> int:
    headers = {"Authorization": f"Bearer {running.key}"}
    answer = requests.get(f"{running.url}/v1/batches/{batch}/results", headers=headers, timeout=60)
    return answer.text.count('"saved_at":"') + answer.text.count('"saved_at": "')
