from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.harness import Chaos, chaos
from tests.support.waiting import wait_for

CLOCK = Path(__file__).parent / "clock"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("chaos")
    # Few slots, so that the submissions of a batch last as long as the batch does.
    # Some tests lose jobs of the last seconds, and their producers enqueue them again.
    slots = {"BOOMERANG_MAX_IN_FLIGHT": "20", "BOOMERANG_TOLERATED_LOSS": "300"}
    clock = {"PYTHONPATH": f"{CLOCK}:{ROOT}", "CHAOS_CLOCK": str(folder / "clock")}
    with chaos(folder / "stack", wait_for, "--latency 0.3", slots, clock) as running:
        yield running


@pytest.fixture
def running(_chaos: Chaos) -> Iterator[Chaos]:
    """One stack for all tests of a module. Each test has its own batch, and all faults are cleared after it."""
    yield _chaos
    _chaos.end_faults()
