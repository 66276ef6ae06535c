"""Benchmark: jobs per second of the whole path, compared with plain Celery tasks."""

import time

from celery import Celery

from boomerang_client import Client
from ops.bench.harness import ended_tasks, generations, plain_worker, until
from ops.local.stack import LocalStack


def whole_path(running: LocalStack, count: int, batch: str) -> float:
    """Return jobs per second, from the start of the upload until all `count` jobs have their final state."""
    with Client(running.url, running.key) as client:
        begin = time.perf_counter()
        client.enqueue_batch(list(generations(count)), id=batch)
        until(lambda: client.batch(batch).done)
        return count / (time.perf_counter() - begin)


def plain_task(running: LocalStack, task: str, count: int) -> float:
    """Return jobs per second with one plain Celery task per job, until the provider has ended them all."""
    with plain_worker(running) as broker:
        producer = Celery(broker=broker, set_as_current=False)
        _warm_up(running, producer, task)
        before = ended_tasks(running)
        begin = time.perf_counter()
        for request in generations(count):
            producer.send_task(task, kwargs={"request": request})
        until(lambda: ended_tasks(running) - before >= count)
        return count / (time.perf_counter() - begin)


def _warm_up(running: LocalStack, producer: Celery, task: str) -> None:
    before = ended_tasks(running)
    producer.send_task(task, kwargs={"request": next(generations(1))})
    until(lambda: ended_tasks(running) > before)
