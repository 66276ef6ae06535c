"""The promise holds when the worker or the webhook is killed before or after any of its side effects.

Real processes, real SIGKILL (tests/chaos/crashing.py). A new side effect gets its points automatically, and fails here
and in test_crash_names.py until a scenario reaches them.
"""

import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.crash_scenarios import CASES, Check, Scenario, Turn, notified, one_job, polled, without_hints
from tests.chaos.crash_world import ANY_LEASE, REACHED, RECOVERED, GaveUp, World, world
from tests.chaos.points import words
from tests.support.drawing import Draw

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

#: How often a scenario runs before it counts as failing to reach its point.
TRIES = 4
NUMBERS = count()
#: Effects of every call, by the same code: one call has them killed in each run.
OF_EVERY_CALL = {"answer", "audited"}


def points() -> Iterator[Any]:
    """Yield each scenario with each of its points.

    Only `make chaos` kills before an effect: for most, that is the same moment as after the effect before. It also has
    the further scenarios of an effect in the same use case.
    """
    seen = set[str]()
    for use_case, scenarios in CASES.items():
        for scenario, effects in scenarios.items():
            for effect in effects.split():
                kind = effect if effect in OF_EVERY_CALL else f"{use_case}:{effect}"
                for side in ("before", "after"):
                    point = f"{use_case}:{effect}:{side}"
                    marks = [pytest.mark.chaos] if side == "before" or kind in seen else []
                    yield pytest.param(scenario, point, id=f"{point}-{scenario.__name__}", marks=marks)
                seen.add(kind)


POINTS = list(points())
#: Points that most recoveries reach.
IN_RECOVERY = [
    f"{use_case}:{effect}:{side}"
    for use_case in ("submit", "reconcile", "callbacks.take", "save", "deliver")
    for scenario in (one_job, without_hints, polled, notified)
    for effect in CASES[use_case].get(scenario, "").split()
    for side in ("before", "after")
]
NAMED = {
    f"{use_case}:{effect}" for use_case, all_ in CASES.items() for each in all_.values() for effect in each.split()
}


@pytest.fixture(scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("crash")) as made:
        yield made


@pytest.fixture
def w(_world: World, request: pytest.FixtureRequest) -> Iterator[World]:
    """One world for all tests. After a failed test it is reset."""
    failed = request.session.testsfailed
    yield _world
    if request.session.testsfailed > failed:
        _world.renew()


@pytest.mark.parametrize(("scenario", "point"), POINTS)
def test_a_process_killed_at_any_point_breaks_no_promise(scenario: Scenario, point: str, w: World, draw: Draw) -> None:
    check = until_dead(w, scenario, point, draw)
    replace_dead_process(w, point)
    all_is_well(w, check)


@pytest.mark.chaos
@pytest.mark.parametrize(("scenario", "point"), POINTS)
def test_a_second_kill_during_recovery_breaks_no_promise(scenario: Scenario, point: str, w: World, draw: Draw) -> None:
    check = until_dead(w, scenario, point, draw)
    again = random.Random(point).choice(IN_RECOVERY)
    w.arm(again)
    replace_dead_process(w, point)
    if w.until(lambda: w.died_at(again) or w.at_rest(), RECOVERED) and w.disarm(again):
        replace_dead_process(w, again)
    all_is_well(w, check)


def until_dead(w: World, scenario: Scenario, point: str, draw: Draw) -> Check | None:
    """Run the scenario until a process has died at the point."""
    again = point.endswith(":after")
    for _ in range(TRIES):
        check = None
        with suppress(GaveUp):
            check = scenario(Turn(w, point, draw(seed=next(NUMBERS)), again))
        if w.until(lambda: w.died_at(point), REACHED):
            # Callbacks stay dropped: polls alone must find what the dead process has begun.
            w.calm(but=words("drop_callbacks"))
            return check
    pytest.fail(f"no process reached {point}")


def replace_dead_process(w: World, point: str) -> None:
    """Wait until the process that died at the point is gone, and start its successor."""
    pid = w.died_at(point)
    if pid == w.worker_pid:
        assert w.worker_ended() == -signal.SIGKILL
        # First, all its leases expire.
        w.ahead(ANY_LEASE)
        w.redeliver()
        w.start_worker()
    assert w.until(lambda: not Path(f"/proc/{pid}").exists(), RECOVERED)


def all_is_well(w: World, check: Check | None) -> None:
    """Check that the service recovers in time, and that every effect had a name."""
    well = w.until(lambda: (check is None or check()) and w.at_rest(), RECOVERED)
    w.judge()
    assert well, w.unfinished()
    assert w.seen() - NAMED == set()
    w.calm()
