"""The tasks that beat sends, run by a worker."""

from celery import Celery

from tests.support.world import MakeWorld
from worker.services import Services
from worker.settings import Switch
from worker.tasks import register


def test_accumulated_ticks_start_one_round(world: MakeWorld) -> None:
    w = world(events=Switch.OFF)
    now = [100.0]
    app = Celery(set_as_current=False)
    register(app, Services(app, w.settings, clock=lambda: now[0]))

    def tick() -> float:
        """Run the task once. Return when the last round began."""
        app.tasks["boomerang.reconcile"].apply(throw=True)
        began = w.store.liveness.pulse().round_at
        assert began is not None
        return began

    first = tick()
    # Ticks that waited while no worker ran arrive together and start no further round
    assert [tick() for _ in range(5)] == [first] * 5
    now[0] += 1
    assert tick() > first
