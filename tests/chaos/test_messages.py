"""Foreign, malformed and lost messages: the jobs continue, and nothing is bought twice."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.harness import Chaos
from tests.chaos.poison import DELIVER, EMPTY, POISON, QUEUES, RECONCILE, SUBMIT, message

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 10


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


#: The levels at which Celery and kombu report a message that they discard.
LEVELS = ("CRITICAL", "ERROR", "WARNING")


def count_reports(running: Chaos) -> int:
    return sum(running.count_in_log("worker", word) for word in LEVELS)


@pytest.mark.parametrize("kind", POISON)
def test_a_malformed_message_is_discarded(running: Chaos, kind: str) -> None:
    """It is reported and discarded: it neither ends a worker nor comes back."""
    batch = "poison-" + kind.replace(" ", "-")
    restarts, before = running.stack.restarts, count_reports(running)
    running.broker.rpush(SUBMIT, POISON[kind])
    running.wait_for(lambda: count_reports(running) > before, message="it is reported")
    running.enqueue(JOBS, batch)
    running.promise_is_kept(JOBS, batch)
    running.wait_for(lambda: running.broker.hlen("unacked") == 0, message="it does not come back")
    assert running.stack.restarts == restarts


def test_messages_of_an_unknown_task_or_job_are_discarded(running: Chaos) -> None:
    """For example after a deployment in the wrong order, or for a job whose retention is over."""
    batch, before = "unknown", running.count_in_log("worker", "unregistered task")
    unknown = json.dumps([["no-such-job"], {}, {}]).encode()
    for body, task in ((EMPTY, "boomerang.no-such-task"), (unknown, SUBMIT), (unknown, DELIVER)):
        running.broker.rpush(SUBMIT, json.dumps(message(body, task)))
    running.enqueue(JOBS, batch)
    running.promise_is_kept(JOBS, batch)
    assert running.count_in_log("worker", "unregistered task") > before
    running.wait_for(lambda: running.broker.hlen("unacked") == 0, message="they do not come back")


def test_a_pickle_is_refused(running: Chaos, tmp_path: Path) -> None:
    """A pickle could run code of any client of the broker."""
    batch, trap, before = "pickled", tmp_path / "trap", count_reports(running)
    body = pickle.dumps([[Trap(trap)], {}, {}])
    more = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    running.broker.rpush(SUBMIT, json.dumps(message(body, **more)))
    running.enqueue(JOBS, batch)
    running.promise_is_kept(JOBS, batch)
    running.wait_for(lambda: count_reports(running) > before, message="it is reported")
    assert not trap.exists()


def test_messages_that_come_five_times_have_no_effect(running: Chaos) -> None:
    batch = "five-times"
    running.turn(drop_callbacks=0.3)
    running.enqueue(JOBS, batch)
    ids = [f"{batch}.{number}" for number in range(1, JOBS + 1)]
    for share in (0, 0.3, 0.6):
        running.until_ended(int(JOBS * share), batch)
        for task in (SUBMIT, DELIVER):
            same = json.dumps(message(json.dumps([ids, {}, {}]).encode(), task))
            running.broker.rpush(task, *[same] * 5)
        running.broker.rpush(RECONCILE, *[json.dumps(message(EMPTY, RECONCILE))] * 5)
    running.promise_is_kept(JOBS, batch)
    running.wait_for(lambda: not any(map(running.broker.llen, QUEUES)), message="all have been taken")


def test_jobs_continue_after_the_broker_is_emptied(running: Chaos) -> None:
    batch = "emptied"
    running.turn(drop_callbacks=0.3)
    with running.stopped("worker"):
        # The first message goes to the suspended worker, which waits for one.
        running.wait_for(lambda: running.broker.llen(RECONCILE) > 1, message="ticks wait")
        running.enqueue(JOBS, batch)
        running.wait_for(lambda: running.broker.llen(SUBMIT), message="a hint waits")
        running.broker.flushall()
    running.promise_is_kept(JOBS, batch)


def test_deleted_bindings_do_not_stop_the_queues(running: Chaos) -> None:
    """Bindings route named exchanges. Our queues do not use them."""
    batch = "unbound"

    def names() -> list[Any]:
        return list(running.broker.scan_iter("_kombu.binding.*"))

    running.end("worker")  # a worker binds what it uses when it starts
    running.wait_for(names, timeout=30, message="there are bindings")
    running.broker.delete(*names())
    running.enqueue(JOBS, batch)
    running.promise_is_kept(JOBS, batch)
