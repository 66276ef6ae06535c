"""The factory of the Celery app, and Celery's settings with the reason for each."""

from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from kombu import Exchange, Queue

from jobs.connections.kombu import ASKS_ONLY, for_kombu
from jobs.connections.link_queues import LinkQueues
from jobs.liveness import ROUND_INTERVAL
from jobs.settings import NO_CALLBACK_SECRETS
from jobs.task_names import DELIVER, RECONCILE, SAVE, SUBMIT
from worker.bootsteps import Guard
from worker.broker_scripts import LoadScripts
from worker.continuity import compare_step
from worker.flower_events import Dispatcher
from worker.generate.revoke import revoke_step
from worker.heartbeat import Heart, heart_step, heartbeat_step
from worker.routes import Routes
from worker.services import Services
from worker.settings import QueueType, Settings, Switch
from worker.tasks import register

#: The beginnings of URLs of a broker that is a Redis.
_REDIS = ("redis", "sentinel")
#: Seconds after which an unacknowledged message is delivered again. Longer than any task takes.
VISIBILITY = 300
#: Seconds without an answer after which a connection to Redis is dead. Without it, a silent drop would hang a worker.
#: Every dead connection costs this once: with 10, work went on after 22 to 37 s, with 5 after 12 to 17 s (measured).
SOCKET_TIMEOUT = 5
#: Seconds between checks of idle connections. One that waits for messages is given up after twice that and a second.
HEALTH_CHECK = 5


def create_app(settings: Settings) -> Celery:
    """Create the app. It does not become Celery's current app, so that other apps in the process are not affected."""
    app = Celery("boomerang", amqp=Routes, set_as_current=False)
    app.conf.update(configuration(settings))
    # Only these: Celery would also consume every queue that it has sent to, and discard unknown messages there.
    queues = [settings.generate_queue, SUBMIT, RECONCILE, DELIVER]
    app.amqp.queues.select([*queues, SAVE] if settings.result_store else queues)
    app.amqp.link_queues = LinkQueues(settings.link_patterns)
    app.events.dispatcher_cls = Dispatcher
    services = Services(app, settings)
    register(app, services)
    app.steps["worker"].update(
        (
            _secrets_step(settings, app),
            NoMingleOrGossip,
            compare_step(lambda: services.continuity),
            _stop_step(services),
        )
    )
    app.steps["consumer"].update((Guard, LoadScripts))
    heart = Heart(lambda: services.store)
    app.steps["worker"].add(heart_step(heart))
    app.steps["consumer"].add(heartbeat_step(heart, Path(settings.health_file) if settings.health_file else None))
    if settings.remote_control is Switch.ON:
        app.steps["consumer"].add(revoke_step(lambda: services.generate_handler))
    return app


def ask_only(app: Celery) -> None:
    """Let the app only ask workers and read events. Its user in Redis then needs no right to run scripts."""
    if app.conf.broker_url.startswith(_REDIS):
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, ASKS_ONLY: True}


class NoMingleOrGossip(bootsteps.Step):
    """Switches off mingle and gossip, which Celery offers only as command-line options.

    With them, workers ask each other for revoked tasks, which the jobs' records have, and read the heartbeats of all
    workers on the broker.
    """

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        parent.options.update(without_mingle=True, without_gossip=True)


def _stop_step(services: Services) -> type:
    """Return a step that lets no further notification or save begin when a worker stops. Those under way end."""

    class BeginNoMore(bootsteps.StartStopStep):
        def start(self, _parent: Any) -> None:
            services.stopping.clear()

        def stop(self, _parent: Any) -> None:
            services.stopping.set()

    return BeginNoMore


def _secrets_step(settings: Settings, app: Celery) -> type:
    """Return a step that ends a worker without its secrets.

    Beat, Flower and a worker that only delivers or saves load this app, too, and need none.
    """

    class NeedsSecrets(bootsteps.Step):
        def __init__(self, parent: Any, **kwargs: Any) -> None:
            super().__init__(parent, **kwargs)
            if set(app.amqp.queues.consume_from) <= {DELIVER, SAVE}:
                return
            if settings.lacks_callback_secrets:
                raise SystemExit(f"BOOMERANG_CALLBACK_SECRETS: {NO_CALLBACK_SECRETS}.")
            missing = [lane.key_variable for lane in settings.lanes if not settings.key_of(lane)]
            if missing:
                raise SystemExit(f"{', '.join(missing)}: not set. A worker needs the key of the generation API.")

    return NeedsSecrets


def configuration(settings: Settings) -> dict[str, Any]:
    """Return Celery's settings."""
    redis_broker = settings.broker_url.startswith(_REDIS)
    broker, results = for_kombu(settings.broker_url), for_kombu(settings.result_url)
    transport = _redis_transport(settings) if redis_broker else {"confirm_publish": True}
    return {
        "broker_url": broker.url,
        "broker_use_ssl": broker.ssl,
        "broker_transport_options": {**transport, **broker.options},
        "result_backend": results.url,
        "redis_backend_use_ssl": results.ssl,
        "result_backend_transport_options": results.options,
        # By default a worker gives up after 100 attempts and ends.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # With retries, a Redis that is out of memory would lose messages: they are popped again and again.
        "broker_channel_error_retry": False,
        "broker_pool_limit": 64,
        "broker_pool_acquire_timeout": 10,
        # The anonymous exchange routes to queues by name and needs no binding, which could get lost.
        "task_queues": [_generate_queue(settings), *map(_queue, (SUBMIT, RECONCILE, DELIVER, SAVE))],
        "task_default_queue": settings.generate_queue,
        # Links, chains and chords of producers are sent to their queues, whose names are not known here. worker.routes
        # creates none of them at the broker.
        "task_create_missing_queues": True,
        # Acknowledged after the task: after a crash the message is delivered again. The record makes that harmless.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # It would use an ETA of 180 s, which is too close to the visibility time-out on Redis.
        "task_retry_on_worker_lost": False,
        # A task cancelled during a POST leaves its submission in doubt.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Threads, because tasks wait for HTTP. gevent was slower and stalled after silent network drops. Celery's time
        # limits and max_tasks_per_child do not apply to threads: each call has a deadline (worker.http.deadline).
        "worker_pool": "threads",
        # Tasks at once. A single submit task runs BOOMERANG_CONCURRENCY POSTs at once.
        "worker_concurrency": 16,
        # With it, after a lost connection the pool's threads set the prefetch count and read RabbitMQ's answers. The
        # main thread then waits forever for the rest of a frame.
        "worker_enable_prefetch_count_reduction": False,
        # Messages do not wait in a worker's memory.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": redis_broker,
        "task_store_errors_even_if_ignored": False,
        "result_expires": 24 * 3600,
        "redis_socket_timeout": SOCKET_TIMEOUT,
        "redis_socket_connect_timeout": 3,
        "redis_retry_on_timeout": False,
        "redis_backend_health_check_interval": HEALTH_CHECK,
        # Only Celery's built-in tasks send events of their own, and tasks that are not registered here. Those of a job
        # would report a parked one as succeeded: worker.flower_events sends them.
        "worker_send_task_events": settings.events is Switch.ON,
        "task_send_sent_event": False,
        # After SIGTERM running tasks may end, then messages go back. An idle worker has no ETA tasks and ends at once.
        "worker_soft_shutdown_timeout": 30,
        "worker_enable_soft_shutdown_on_idle": False,
        # Revokes, the doctor and Flower's worker pages need it. Any client that may publish can also stop workers.
        "worker_enable_remote_control": settings.remote_control is Switch.ON,
        "worker_hijack_root_logger": True,
        "worker_proc_alive_timeout": 30,
        # JSON only: unpickling a message could run code.
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        # The schedule is one interval, so beat needs no file for its state.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": ROUND_INTERVAL,
        "beat_schedule": {
            RECONCILE: {
                "task": RECONCILE,
                "schedule": ROUND_INTERVAL,
                # No `expires`: for a worker whose clock is ahead, every run would have expired.
                "options": {"queue": RECONCILE, "ignore_result": True},
            }
        },
    }


def _queue(name: str, **options: Any) -> Any:
    return Queue(name, Exchange(""), routing_key=name, **options)  # type: ignore[no-untyped-call]


def _generate_queue(settings: Settings) -> Any:
    # Only this queue: messages in the others are hints and may get lost.
    quorum = settings.generate_queue_type is QueueType.QUORUM
    return _queue(settings.generate_queue, queue_arguments={"x-queue-type": "quorum"} if quorum else None)


def _redis_transport(settings: Settings) -> dict[str, Any]:
    return {
        "link_queues": settings.link_patterns,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK,
        # No `retry_on_timeout`: it could publish a message twice.
        "visibility_timeout": VISIBILITY,
        # Look for unacknowledged messages every 10 s. By default it takes up to 100 s after the time-out.
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "unacked_restore_limit": 1000,
        "client_name": "boomerang",
    }
