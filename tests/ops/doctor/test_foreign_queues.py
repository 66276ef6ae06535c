"""Other applications on the same broker are recognized by the keys that real Celery producers and workers create."""

from collections.abc import Iterator

import pytest
import redis
from celery import Celery, signals
from celery.contrib.testing.worker import start_worker
from kombu import Queue

from ops.doctor.foreign_queues import foreign_queues
from webhook.messages import Messages
from webhook.settings import Settings as WebhookSettings
from worker.app import create_app
from worker.settings import Settings as WorkerSettings


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.mark.parametrize("queue", ["celery", "boomerang.generate", "generate"])
def test_the_services_own_keys_are_not_foreign(broker: redis.Redis, redis_url: str, queue: str) -> None:
    settings = WorkerSettings(redis_url=redis_url, broker_url=redis_url, result_url=redis_url, generate_queue=queue)
    app = create_app(settings)
    with app.connection_for_write() as connection:
        for name in app.amqp.queues:
            app.amqp.queues[name](connection.default_channel).declare()
        app.events.Receiver(connection.clone(), {}).queue(connection.default_channel).declare()
    app.control.inspect(timeout=0.1).ping()
    app.send_task("boomerang.reconcile", queue="boomerang.reconcile", ignore_result=True)
    assert Messages(WebhookSettings(redis_url=redis_url, broker_url=redis_url)).send("boomerang.submit", "fox")
    producer = Celery("shop", broker=redis_url, backend=redis_url, set_as_current=False)
    producer.send_task("boomerang.generate", kwargs={"model": "m"}, queue=queue, priority=3)
    assert list(broker.scan_iter("_kombu.binding.*"))
    assert foreign_queues(broker, queue) == []


def test_another_application_is_recognized(broker: redis.Redis, redis_url: str) -> None:
    other = Celery("other", broker=redis_url, set_as_current=False)
    other.conf.task_queues = [Queue("reports")]
    other.conf.task_default_queue = "reports"
    other.send_task("reports.make")
    assert foreign_queues(broker, "celery") == ["reports"]


def test_an_application_with_a_key_prefix_is_recognized(broker: redis.Redis, redis_url: str) -> None:
    other = Celery("other", broker=redis_url, set_as_current=False)
    other.conf.broker_transport_options = {"global_keyprefix": "theirs:"}
    other.send_task("mail.send")
    assert foreign_queues(broker, "celery") == ["theirs:celery"]


@pytest.fixture
def _keep_logging() -> Iterator[None]:
    """Keep the root logger as it is: a worker in this process would set its level and handlers."""

    def configured(**_: object) -> None: ...

    signals.setup_logging.connect(configured)
    yield
    signals.setup_logging.disconnect(configured)


@pytest.mark.usefixtures("_keep_logging")
def test_a_worker_of_another_application_is_recognized(broker: redis.Redis, redis_url: str) -> None:
    other = Celery("other", broker=redis_url, backend="cache+memory://", set_as_current=False)
    other.conf.task_default_queue = "mail"
    with start_worker(other, perform_ping_check=False, pool="solo"):
        assert foreign_queues(broker, "celery") == ["mail"]
