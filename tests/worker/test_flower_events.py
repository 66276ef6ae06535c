"""Task events for jobs of every entry point, as a monitor on the real broker receives them."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from flower.events import EventsState

from jobs.new_job import NewJob
from jobs.settings import Settings as JobSettings
from jobs.states import State
from jobs.store.store import Store
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld, request_of
from worker.flower_events import events_of, publish_changes

WaitFor = Callable[..., None]


class Monitor:
    """A receiver of events with Celery's state machine over them, as in Flower."""

    def __init__(self, app: Any) -> None:
        self.state = app.events.State()
        self.types: list[tuple[str, str]] = []
        self.states: dict[str, list[str]] = {}
        self._app = app
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._on})
            with receiver.consumer_context() as (channel, _, _):
                while not self._stop.is_set():
                    try:
                        channel.drain_events(timeout=0.1)
                    except TimeoutError:
                        # Celery subscribes at the first wait
                        self._ready.set()

    def _on(self, event: dict[str, Any]) -> None:
        self.state.event(event)
        job_id = event["uuid"]
        self.types.append((job_id, event["type"]))
        self.states.setdefault(job_id, []).append(self.state.tasks[job_id].state)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)


@pytest.fixture
def monitor_of() -> Iterator[Callable[[Any], Monitor]]:
    made: list[Monitor] = []

    def make(app: Any) -> Monitor:
        made.append(Monitor(app))
        return made[-1]

    yield make
    for each in made:
        each.close()


EVENTS = ["task-received", "task-started", "task-in-progress", "task-succeeded"]


def test_a_monitor_sees_every_state_of_a_job(
    world: MakeWorld, monitor_of: Callable[[Any], Monitor], wait_for: WaitFor
) -> None:
    w = world()
    monitor = monitor_of(w.app)
    w.start()
    publish_changes(w.app, w.store, "worker@here")
    wait_for(lambda: monitor.states.get("job-1", [""])[-1] == "IN-PROGRESS")
    w.settle()
    publish_changes(w.app, w.store, "worker@here")
    wait_for(lambda: monitor.states["job-1"][-1] == "SUCCESS")
    assert [kind for _, kind in monitor.types] == EVENTS
    assert monitor.states["job-1"] == ["RECEIVED", "STARTED", "IN-PROGRESS", "SUCCESS"]
    task = monitor.state.tasks["job-1"]
    assert (task.name, task.uuid) == ("boomerang.generate", "job-1")
    assert "kirin_image_omni" in task.kwargs
    assert ".png" in task.result
    # Each change is published once
    assert publish_changes(w.app, w.store, "worker@here") == 0


FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "429, then taken": (
        {"throttle": 1},
        ["RECEIVED", "STARTED", "RETRY", "STARTED", "IN-PROGRESS", "SUCCESS"],
    ),
    "in doubt, found": (
        {"lost_answers": 1},
        ["RECEIVED", "STARTED", "IN-DOUBT", "SUCCESS"],
    ),
    "in doubt, absent, sent again": (
        {"error_before": 1},
        ["RECEIVED", "STARTED", "IN-DOUBT", "RETRY", "STARTED", "IN-PROGRESS", "SUCCESS"],
    ),
    "failed, another attempt": (
        {"fail": 1},
        ["RECEIVED", "STARTED", "IN-PROGRESS", "RETRY", "STARTED", "IN-PROGRESS", "SUCCESS"],
    ),
    "failed for good": ({"fail_permanent": 1}, ["RECEIVED", "STARTED", "IN-PROGRESS", "FAILURE"]),
}


@pytest.mark.parametrize(("faults", "states"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("often", [True, False], ids=["published at once", "published together"])
def test_states_arrive_in_order_after_a_fault(  # noqa: PLR0917 - fixtures
    faults: dict[str, Any],
    states: list[str],
    often: bool,
    world: MakeWorld,
    simulator: Simulator,
    monitor_of: Callable[[Any], Monitor],
    wait_for: WaitFor,
) -> None:
    w = world()
    monitor = monitor_of(w.app)
    simulator.turn(**faults)
    w.start()
    if often:
        publish_changes(w.app, w.store, "worker@here")
    simulator.turn(**dict.fromkeys(faults, 0))
    w.settle(seconds=20)
    publish_changes(w.app, w.store, "worker@here")
    wait_for(lambda: monitor.states.get("job-1", [""])[-1] in {"SUCCESS", "FAILURE"})
    assert monitor.states["job-1"] == states


def test_a_monitor_sees_cancelled_and_expired_jobs(
    world: MakeWorld, simulator: Simulator, monitor_of: Callable[[Any], Monitor], wait_for: WaitFor
) -> None:
    w = world(deadline=3600.0)
    monitor = monitor_of(w.app)
    simulator.turn(latency="1000")
    w.enqueue("cancelled")
    w.store.jobs.cancel("cancelled")
    w.start("cancelled-late")
    w.store.jobs.cancel("cancelled-late")
    w.start("expired")
    w.round(3601)
    publish_changes(w.app, w.store, "worker@here")
    wait_for(lambda: monitor.states.get("expired", [""])[-1] == "FAILURE")
    # In Celery's precedence REVOKED is below unknown states. It replaces IN-PROGRESS nevertheless
    assert monitor.states["cancelled"] == ["RECEIVED", "REVOKED"]
    assert monitor.states["cancelled-late"] == ["RECEIVED", "STARTED", "IN-PROGRESS", "REVOKED"]
    assert "in time" in monitor.state.tasks["expired"].exception


def test_the_run_time_begins_with_the_last_start(world: MakeWorld, simulator: Simulator) -> None:
    # Given a job that waits for its time, and whose first attempt fails
    w = world()
    text = request_of().text()
    w.store.jobs.enqueue([NewJob(id="job-1", text=text, model="kirin_image_omni", delay=3600.0)])
    simulator.turn(fail=1)
    starts: list[datetime | None] = []
    w.round(3601)
    simulator.turn(fail=0)
    while not w.job().state.final:
        if w.job().started_at not in {None, *starts}:
            starts.append(w.job().started_at)
        w.round(1)
    assert len(starts) == 2
    assert starts[-1]
    first, *_, last = w.store.events.read_new(100)
    # Then a success reports the time from the second start to the end, without the hour before
    assert first.due == pytest.approx(first.created + 3600, abs=1)
    assert (last.state, last.began, last.retries) == (State.COMPLETED, starts[-1].timestamp(), 1)
    assert last.began
    ((kind, fields),) = events_of(last._replace(at=last.began + 7), None)
    assert (kind, fields["runtime"]) == ("task-succeeded", 7)
    # The record of an ended job does not keep it.
    assert w.job().started_at is None


def test_nothing_is_counted_as_prefetched(world: MakeWorld, simulator: Simulator) -> None:
    """Flower counts a task up when a worker receives it, and down when it starts, for each worker by itself."""
    w = world()
    state = EventsState()
    publishers = ("one@here", "two@here")
    simulator.turn(throttle=0.5)
    w.start(*(f"job-{number}" for number in range(5)))
    w.enqueue("waits", "cancelled")
    w.store.jobs.cancel("cancelled")
    changes = w.store.events.read_new(1000)
    for number, change in enumerate(changes):
        for kind, fields in events_of(change, None):
            at = {"timestamp": change.at, "local_received": change.at, "clock": number, "uuid": change.id}
            state.event({"type": kind, "hostname": publishers[number % 2], **at | fields})
    counted = [
        sample.value for metric in state.metrics.number_of_prefetched_tasks.collect() for sample in metric.samples
    ]
    assert sum(map(abs, counted)) == 0
    assert sum(state.counter[each]["task-received"] for each in publishers) == 7


def test_one_round_publishes_many_changes(
    world: MakeWorld, monitor_of: Callable[[Any], Monitor], wait_for: WaitFor
) -> None:
    w = world()
    monitor = monitor_of(w.app)
    ids = [f"job-{n}" for n in range(1200)]
    for start in range(0, len(ids), 300):
        w.enqueue(*ids[start : start + 300])
    assert publish_changes(w.app, w.store, "worker@here") == 1200
    wait_for(lambda: len(monitor.types) == 1200)
    assert {states[-1] for states in monitor.states.values()} == {"RECEIVED"}


def test_the_last_change_of_a_purged_job_is_still_published(
    world: MakeWorld, monitor_of: Callable[[Any], Monitor], wait_for: WaitFor
) -> None:
    w = world()
    monitor = monitor_of(w.app)
    w.start()
    w.settle()
    Store(w.redis, JobSettings(retention=0)).jobs.purge()
    w.redis.delete("{b}:j:job-1", "{b}:r:job-1")
    publish_changes(w.app, w.store, "worker@here")
    wait_for(lambda: monitor.states.get("job-1", [""])[-1] == "SUCCESS")
