"""Hints to the workers: Celery messages, sent by task name.

Any of them may get lost. The job's alarm then has the same effect later.
"""

import logging
import time
from collections.abc import Callable

from celery import Celery

from jobs.connections.kombu import for_kombu
from webhook.settings import Settings

#: Seconds for which no hint is sent after one that failed, so that callbacks do not wait for a broker that is down.
PAUSE = 2.0
#: Most threads wait for a client or for Redis. Few send at the same time.
CONNECTIONS = 64

_TRANSPORT = {
    "socket_connect_timeout": 1.0,  # without these two, a silent broker would block the request forever
    "socket_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 10,  # notices a dead connection before it is used
    "max_retries": 0,  # of connecting; the default is forever, on top of redis-py's own retries
    "client_name": "boomerang-webhook",
}

_log = logging.getLogger(__name__)


def producer(settings: Settings) -> Celery:
    """Make a Celery app that only sends: no tasks, no results, no connection yet."""
    broker = for_kombu(settings.broker_url)
    app = Celery("boomerang-webhook", broker=broker.url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        enable_utc=True,
        task_ignore_result=True,
        broker_transport_options={**_TRANSPORT, **broker.options},
        broker_use_ssl=broker.ssl,
        broker_connection_timeout=2.0,
        broker_pool_limit=CONNECTIONS,
        broker_pool_acquire_timeout=2,
        # One immediate retry, for a pooled connection that the broker has closed.
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
    )
    return app


class Messages:
    """Sends hints. A broker that fails or does not answer never fails the request."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = producer(settings)
        self._clock = clock
        self._paused_until = float("-inf")

    def send(self, task: str, *args: str) -> bool:
        """Send a hint and return whether it was sent, within a few seconds. Logs the reason if not."""
        if self._clock() < self._paused_until:
            return False
        try:
            self._app.send_task(task, args, queue=task, ignore_result=True, argsrepr=repr(args), kwargsrepr="{}")
        except Exception as error:  # noqa: BLE001 - redis, kombu and amqp have errors of their own, and a hint must not fail a request
            self._paused_until = self._clock() + PAUSE
            _log.warning(
                "hint not sent task=%s error=%s: the jobs' alarms replace it; check BOOMERANG_BROKER_URL",
                task,
                type(error).__name__,
            )
            return False
        return True

    def ping(self) -> bool:
        """Return whether the broker (BOOMERANG_BROKER_URL) accepts a connection now."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=0, timeout=2)
        except Exception:  # noqa: BLE001 - as above: on any error, the broker is down
            return False
        return True
