"""Celery tasks that are no job get their true state in Flower, and no other row changes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery.events.state import State as Cluster

from tests.support.simulator import Simulator
from tests.support.world import MakeWorld, World
from worker.errors import GenerationRefused
from worker.flower_events import events_of
from worker.generate.enqueue import Ending, GenerateCall, GenerateHandler
from worker.generate.unreachable import Reachability
from worker.task_events import TaskEvents

REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}
OTHER = {**REQUEST, "external_task_id": "fox"}


class Flower:
    """Processes producers' messages, and the events that follow, as a monitor does."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.cluster = Cluster()
        self._clock = 0
        self._handler = GenerateHandler(w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False)

    def send(self, task_id: str, request: Any = None, *, enabled: bool = True, **options: Any) -> None:
        """Send a message whose producer sends `task-sent`, and process it."""
        self._event("task-sent", uuid=task_id, hostname="producer")
        continuation = json.dumps({"task_id": task_id})
        call = GenerateCall(task_id=task_id, request=request or REQUEST, **{"continuation": continuation, **options})
        ending = self._handler(call)
        TaskEvents(self.w.store, enabled=enabled)(call, ending)
        if ending:
            self._handler.acknowledge(ending)

    def finish(self, job_id: str) -> None:
        """Process the messages that finish the parked ones."""
        for message in self.w.store.celery.get_parked(job_id):
            self.send(message.task_id, {"external_task_id": job_id}, finishes=message.mark)

    def publish(self) -> None:
        changes = self.w.store.events.read_new(1000)
        results = self.w.store.jobs.results([change.job_id for change in changes])
        for change, result in zip(changes, results, strict=True):
            for kind, fields in events_of(change, result):
                at = {"timestamp": change.at, "local_received": change.at}
                self._event(kind, uuid=change.id, hostname="worker", **at | fields)

    def _event(self, kind: str, **fields: Any) -> None:
        self._clock += 1
        self.cluster.event({"type": kind, "timestamp": 1.0, "local_received": 1.0, "clock": self._clock, **fields})

    def state(self, task_id: str) -> str:
        self.publish()
        return str(self.cluster.tasks[task_id].state)


@pytest.fixture
def flower(world: MakeWorld) -> Flower:
    return Flower(world())


def _revoked_before(flower: Flower) -> None:
    flower.w.store.celery.revoke(["task"])
    flower.send("task")


NO_JOB: dict[str, tuple[Callable[[Flower], None], str, str]] = {
    "an invalid request": (lambda flower: flower.send("task", {"model": "none"}), "FAILURE", "model"),
    "a continuation to nobody": (
        lambda flower: flower.send("task", continuation=json.dumps({"link": [{"task": "shop.lost"}]})),
        "FAILURE",
        "shop.lost",
    ),
    "an unknown job": (lambda flower: flower.send("task", {"external_task_id": "none"}), "FAILURE", "none"),
    "expired before it came": (lambda flower: flower.send("task", expires_in=-1.0), "REVOKED", "expired"),
    "revoked before it came": (_revoked_before, "REVOKED", "revoked"),
}


@pytest.mark.parametrize(("send", "state", "why"), NO_JOB.values(), ids=NO_JOB)
def test_a_task_that_became_no_job_has_its_end(
    send: Callable[[Flower], None], state: str, why: str, flower: Flower
) -> None:
    send(flower)
    assert flower.state("task") == state
    task = flower.cluster.tasks["task"]
    assert why in task.exception
    assert task.name == "boomerang.generate"
    assert task.received


def test_a_task_that_waits_for_a_job_of_another_id_ends_with_it(flower: Flower) -> None:
    flower.send("task", OTHER)
    assert (flower.state("task"), flower.state("fox")) == ("RECEIVED", "RECEIVED")
    flower.w.submit()
    began = flower.w.job("fox").started_at
    flower.w.settle("fox")
    assert flower.state("fox") == "SUCCESS"
    flower.finish("fox")
    assert flower.state("task") == "SUCCESS"
    task = flower.cluster.tasks["task"]
    assert began
    assert task.started == began.timestamp()
    assert ".png" in task.result
    assert "fox" in task.kwargs
    # A later message for the same job ends at once.
    flower.send("late", OTHER)
    assert flower.state("late") == "SUCCESS"
    assert flower.cluster.tasks["late"].started == began.timestamp()


def test_such_a_task_fails_with_its_job(flower: Flower, simulator: Simulator) -> None:
    simulator.turn(fail_permanent=1)
    flower.send("task", OTHER)
    flower.w.submit()
    flower.w.settle("fox")
    flower.finish("fox")
    assert flower.state("task") == flower.state("fox") == "FAILURE"
    assert "1301" in flower.cluster.tasks["task"].exception


def test_such_a_task_is_revoked_with_its_job(flower: Flower) -> None:
    flower.send("task", OTHER)
    flower.w.store.jobs.cancel("fox")
    flower.finish("fox")
    assert flower.state("task") == flower.state("fox") == "REVOKED"
    assert flower.cluster.tasks["task"].started is None


def test_a_refused_message_leaves_the_row_of_a_job_with_its_id(flower: Flower) -> None:
    flower.w.enqueue("fox")
    flower.send("fox", {**REQUEST, "prompt": "another"})
    assert flower.state("fox") == "RECEIVED"


def test_a_repeat_of_an_ended_job_is_shown_again(flower: Flower) -> None:
    flower.send("task")
    flower.w.submit()
    flower.w.settle("task")
    flower.finish("task")
    flower.publish()
    # When Flower has forgotten the task, and the producer sends it again
    flower.cluster.clear(ready=False)
    flower.send("task")
    assert flower.state("task") == "SUCCESS"


def test_a_job_of_its_own_id_adds_nothing(flower: Flower) -> None:
    flower.send("task")
    assert len(flower.w.store.events.read_new(10)) == 1


@pytest.mark.parametrize("error", ["x" * 10**6, "\x00\n\ud800" * 10**5], ids=["ascii", "escaped"])
def test_the_stream_holds_the_beginning_of_an_error(error: str, flower: Flower) -> None:
    call = GenerateCall(task_id="task", request=REQUEST, continuation="{}")
    TaskEvents(flower.w.store, enabled=True)(call, Ending(GenerationRefused(error)))
    (change,) = flower.w.store.events.read_new(10)
    assert change.reason
    assert len(change.reason) < 10_000
    assert change.reason.isprintable()


@pytest.mark.parametrize("task_id", ["x" * 10**6, "\ud800"], ids=["long", "half a character"])
def test_an_id_that_the_stream_does_not_take_is_left_out(task_id: str, flower: Flower) -> None:
    ending = Ending(GenerationRefused("no"))
    for job_id in (task_id, "fox"):
        call = GenerateCall(task_id=task_id, request={"external_task_id": job_id}, continuation="{}")
        TaskEvents(flower.w.store, enabled=True)(call, ending)
    assert flower.w.store.events.read_new(10) == []


def test_events_can_be_switched_off(flower: Flower) -> None:
    flower.send("task", {"model": "none"}, enabled=False)
    assert flower.w.store.events.read_new(10) == []
