"""The real stack with RabbitMQ, whose node is killed during the run: every confirmed message takes effect."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from boomerang_client import Client
from ops.local import redis_server as redis_servers
from ops.local.stack import LocalStack, Options
from tests.support.producers import LOCAL, own
from tests.support.rabbitmq import running as running_node
from tests.support.verdict import SETTINGS, opened, outcome_of, promise_is_kept, requests_of
from tests.support.waiting import WaitFor

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

JOBS, MESSAGES = 60, 20
#: Few slots, so that the submissions of a batch last until the node is killed and beyond.
SLOTS = {"BOOMERANG_MAX_IN_FLIGHT": "60"}


def producer(broker: str, backend: str, kind: str) -> Celery:
    """The app of another service, with publisher confirms."""
    app = Celery("shop", broker=broker, backend=backend, set_as_current=False)
    quorum = {"x-queue-type": "quorum"} if kind == "quorum" else None
    app.conf.update(
        broker_transport_options={"confirm_publish": True}, task_queues=[Queue("celery", queue_arguments=quorum)]
    )
    return app


@pytest.mark.parametrize("kind", [pytest.param("classic", marks=pytest.mark.chaos), "quorum"])
def test_a_kill_of_the_node_breaks_no_promise(kind: str, tmp_path: Path, wait_for: WaitFor) -> None:
    with (
        running_node(tmp_path / "rabbitmq", wait_for) as node,
        redis_servers.running(tmp_path / "redis", durable=False) as redis,
        LocalStack(
            Options(
                folder=tmp_path / "stack",
                flower=False,
                simulator="--storm --plain-images --seed 31",
                settings={**SETTINGS, **SLOTS, "BOOMERANG_GENERATE_QUEUE_TYPE": kind},
                warnings=False,
                redis_url=redis.url,
                broker_url=node.url,
            ),
            lambda *_: None,
        ) as stack,
        Client(stack.url, stack.key) as client,
        opened(stack) as store,
    ):
        client.enqueue_batch(list(requests_of(JOBS)), id="storm")
        app = producer(node.url, redis.url, kind)
        ids = [f"fox-{number}" for number in range(MESSAGES)]

        def send(task_id: str) -> Any:
            request = {"model": "kirin_image_omni", "prompt": "a fox"}
            return app.send_task("boomerang.generate", kwargs=request, task_id=task_id, ignore_result=True)

        send(ids[0])
        wait_for(lambda: store.jobs.get_many(ids[:1])[0], 30, "the first is taken")
        # The worker takes no message, so when the node is killed, only the broker has them.
        worker = stack.pids()["worker"]
        os.kill(worker, signal.SIGSTOP)
        try:
            for task_id in ids[1:]:
                send(task_id)
            node.kill()
            app.close()
            node.start()
        finally:
            os.kill(worker, signal.SIGCONT)
        wait_for(lambda: all(store.jobs.get_many(ids)), 60, "every message is acted upon")
        wait_for(lambda: all(job and job.state.final for job in store.jobs.get_many(ids)), 90, "they end")
        wait_for(lambda: store.batches.get(own("storm", LOCAL)).done, 90, "every accepted job ends")
        promise_is_kept(outcome_of(stack, store, client, "storm", wait_for), JOBS)
        assert stack.restarts == 0
