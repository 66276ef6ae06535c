"""What networks do between each pair of processes: afterwards work goes on, and nothing is bought twice."""

import pytest

from tests.chaos.harness import WIRES, Chaos

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 60
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
#: What `make chaos` tries too.
AT_LENGTH = pytest.mark.chaos
BESIDES = ("webhook-state", "webhook-broker", "beat-broker")
OF_WORKER = ("worker-state", "worker-broker", "worker-provider")


@pytest.mark.parametrize(
    "wire",
    [pytest.param(wire, marks=AT_LENGTH if wire in BESIDES else ()) for wire in WIRES],
)
def test_a_wire_is_cut_again_and_again(running: Chaos, wire: str) -> None:
    batch, proxy = f"cut-{wire}", running.wires[wire]
    running.enqueue(JOBS, batch)
    before = proxy.cut_off
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        proxy.cut()
    running.promise_is_kept(JOBS, batch)
    assert proxy.cut_off > before


@pytest.mark.parametrize("wire", [*OF_WORKER, "webhook-state"])
def test_answers_that_never_arrive(running: Chaos, wire: str) -> None:
    """The request was heard and acted upon; its answer is lost with the connection."""
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
def test_a_silent_drop_ends_and_work_goes_on(running: Chaos, wire: str) -> None:
    """Connections stay open and nothing arrives: nobody is told, so only time-outs can tell."""
    batch, proxy = f"silent-{wire}", running.wires[wire]
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    proxy.weather.silent = True
    held = proxy.held
    running.wait_for(lambda: proxy.held > held, timeout=20, message="something was said into the silence")
    proxy.clear()
    # What was not bought or looked up for want of a network is at once after it, within time-outs and a tick.
    running.promise_is_kept(JOBS, batch, timeout=45)


@pytest.mark.parametrize("wire", ["provider-webhook", *(pytest.param(wire, marks=AT_LENGTH) for wire in OF_WORKER)])
def test_a_slow_wire_is_only_slow(running: Chaos, wire: str) -> None:
    batch = f"slow-{wire}"
    running.wires[wire].weather.delay = 0.1
    running.enqueue(40, batch)
    running.promise_is_kept(40, batch)
