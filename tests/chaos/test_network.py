"""Network faults between each pair of processes: afterwards work continues, and nothing is bought twice."""

import pytest

from tests.chaos.harness import WIRES, Chaos

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 60
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
#: Cases that only `make chaos` runs.
AT_LENGTH = pytest.mark.chaos
BESIDES = ("webhook-state", "webhook-broker", "beat-broker")
OF_WORKER = ("worker-state", "worker-broker", "worker-provider")


@pytest.mark.parametrize(
    "wire",
    [pytest.param(wire, marks=AT_LENGTH if wire in BESIDES else ()) for wire in WIRES],
)
def test_connections_cut_repeatedly_lose_nothing(running: Chaos, wire: str) -> None:
    batch, proxy = f"cut-{wire}", running.wires[wire]
    running.enqueue(JOBS, batch)
    before = proxy.cut_off
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        proxy.cut()
    running.promise_is_kept(JOBS, batch)
    assert proxy.cut_off > before


@pytest.mark.parametrize("wire", [*OF_WORKER, "webhook-state"])
def test_lost_answers_cause_no_second_purchase(running: Chaos, wire: str) -> None:
    """The request is received and carried out; its answer is lost with the connection."""
    batch, proxy = f"swallow-{wire}", running.wires[wire]
    before = proxy.swallowed
    running.enqueue(JOBS, batch)
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        proxy.weather.swallow += 1
    running.promise_is_kept(JOBS, batch)
    assert proxy.swallowed > before


@pytest.mark.parametrize(
    "wire",
    [
        *("worker-state", "worker-broker"),
        *(pytest.param(wire, marks=AT_LENGTH) for wire in ("worker-provider", "webhook-state", "webhook-broker")),
    ],
)
def test_work_continues_after_a_silent_drop(running: Chaos, wire: str) -> None:
    """Connections stay open and nothing arrives, so only time-outs detect it."""
    batch, proxy = f"silent-{wire}", running.wires[wire]
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    proxy.weather.silent = True
    held = proxy.held
    running.wait_for(lambda: proxy.held > held, timeout=20, message="data was sent into the silence")
    proxy.clear()
    # Delayed submissions and look-ups happen right after the fault, within time-outs and a tick.
    running.promise_is_kept(JOBS, batch, timeout=45)


@pytest.mark.parametrize("wire", ["provider-webhook", *(pytest.param(wire, marks=AT_LENGTH) for wire in OF_WORKER)])
def test_a_slow_connection_only_delays_jobs(running: Chaos, wire: str) -> None:
    batch = f"slow-{wire}"
    running.wires[wire].weather.delay = 0.1
    running.enqueue(40, batch)
    running.promise_is_kept(40, batch)
