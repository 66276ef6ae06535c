"""Jobs a second: the whole path against what one would write instead."""

import time

from celery import Celery

from boomerang_client import Client
from ops.bench.harness import bought, generations, recipes, until
from ops.local.stack import LocalStack


def whole_path(running: LocalStack, count: int, batch: str) -> float:
    """From the first byte of the upload until the last of `count` jobs has its final state: jobs a second."""
    with Client(running.url, running.key) as client:
        begin = time.perf_counter()
        client.enqueue_batch(list(generations(count)), id=batch)
        until(lambda: client.batch(batch).done)
        return count / (time.perf_counter() - begin)


def plain_recipe(running: LocalStack, task: str, count: int) -> float:
    """The same with one plain Celery task a job, until the provider is done with all of them: jobs a second."""
    with recipes(running) as broker:
        producer = Celery(broker=broker, set_as_current=False)
        _warm_up(running, producer, task)
        before = bought(running)
        begin = time.perf_counter()
        for request in generations(count):
            producer.send_task(task, kwargs={"request": request})
        until(lambda: bought(running) - before >= count)
        return count / (time.perf_counter() - begin)


def _warm_up(running: LocalStack, producer: Celery, task: str) -> None:
    before = bought(running)
    producer.send_task(task, kwargs={"request": next(generations(1))})
    until(lambda: bought(running) > before)
