"""Hints to the workers, as Celery messages sent by name.

Every one of them may get lost: the job's alarm does its work then.
"""

import logging
import time
from collections.abc import Callable

from celery import Celery

from jobs.connections.kombu import for_kombu
from webhook.settings import Settings

#: After a hint that could not be sent, none is tried for so long (seconds): callbacks must not queue up behind a broker
#: that is away.
REST = 2.0
#: Most threads wait for a client or for Redis; few send at the same time.
CONNECTIONS = 64

_TRANSPORT = {
    "socket_connect_timeout": 1.0,  # without these two a silent broker hangs the request for good
    "socket_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 10,  # a connection that died unseen is noticed before it is used
    "max_retries": 0,  # of connecting; the default is for ever, and redis-py's own retries come on top
    "client_name": "boomerang-webhook",
}

_log = logging.getLogger(__name__)


def producer(settings: Settings) -> Celery:
    """A Celery app that only sends: no tasks, no results, nothing connected yet."""
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
        # One more try at once, for a pooled connection that the broker closed meanwhile.
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
    )
    return app


class Messages:
    """Sends hints. Neither failure nor silence of the broker reaches the caller."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = producer(settings)
        self._clock = clock
        self._rests_until = float("-inf")

    def send(self, task: str, *args: str) -> bool:
        """Send one hint; False: not sent, and the reason is logged. Takes a few seconds at most."""
        if self._clock() < self._rests_until:
            return False
        try:
            self._app.send_task(task, args, queue=task, ignore_result=True, argsrepr=repr(args), kwargsrepr="{}")
        except Exception as error:  # noqa: BLE001 - redis, kombu and amqp each have their own; a hint must not fail a request
            self._rests_until = self._clock() + REST
            _log.warning(
                "hint not sent task=%s error=%s: the jobs' alarms will do its work; see BOOMERANG_BROKER_URL",
                task,
                type(error).__name__,
            )
            return False
        return True

    def ping(self) -> bool:
        """Whether the broker (BOOMERANG_BROKER_URL) takes a connection now."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=0, timeout=2)
        except Exception:  # noqa: BLE001 - as above: whatever it is, the broker is away
            return False
        return True
