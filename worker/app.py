"""The Celery app, by factory, and its settings, each with its reason."""

from pathlib import Path
from typing import Any

from celery import Celery, bootsteps
from kombu import Exchange, Queue

from jobs.connections.kombu import for_kombu
from worker.bootsteps import Guard
from worker.continuity import compare_step
from worker.flower_events import Dispatcher
from worker.generate.revoke import revoke_step
from worker.heartbeat import heartbeat_step
from worker.messages import DELIVER, RECONCILE, SUBMIT
from worker.process import Services
from worker.settings import QueueType, Settings, Switch
from worker.tasks import register

#: A message that no one acknowledged in this time (s) is given out again: longer than any task here takes.
VISIBILITY = 300
#: Seconds between two rounds of reconcile.
TICK = 1.0
#: Redis does not answer in this time (s): the connection is dead. Without one, a silent network drop hangs a worker.
#: Each connection that died unseen costs it once more: with 10 work went on after 22 to 37 s, with 5 after 12 to 17.
SOCKET_TIMEOUT = 5
#: Idle connections are tried so often (s). One that waits for messages is given up after twice that and a second.
HEALTH_CHECK = 5


def create_app(settings: Settings) -> Celery:
    """An app that is nobody's default, so that a service which also uses Celery is not disturbed."""
    app = Celery("boomerang", set_as_current=False)
    app.conf.update(configuration(settings))
    # Ours only: Celery would also read every queue that it has once sent to, and throw the messages there away.
    app.amqp.queues.select([settings.generate_queue, SUBMIT, RECONCILE, DELIVER])
    app.events.dispatcher_cls = Dispatcher
    process = Services(app, settings)
    register(app, process)
    app.steps["worker"].update((_key_step(settings), Alone, compare_step(lambda: process.continuity)))
    app.steps["consumer"].add(Guard)
    if settings.health_file:
        app.steps["consumer"].add(heartbeat_step(Path(settings.health_file)))
    if settings.remote_control is Switch.ON:
        app.steps["consumer"].add(revoke_step(lambda: process.door))
    return app


class Alone(bootsteps.Step):
    """No mingle and no gossip (Celery has them as options of the command line only).

    Workers would ask one another at their start for revoked tasks, which are in the record here, and then read all
    heartbeats of all others, of whatever application.
    """

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        parent.options.update(without_mingle=True, without_gossip=True)


def _key_step(settings: Settings) -> type:
    """A worker without the provider's key ends at its start; beat and Flower, which load this app too, need none."""

    class NeedsProviderKey(bootsteps.Step):
        def __init__(self, parent: Any, **kwargs: Any) -> None:
            super().__init__(parent, **kwargs)
            missing = [lane.key_variable for lane in settings.lanes if not settings.key_of(lane)]
            if missing:
                raise SystemExit(f"{', '.join(missing)}: must be set for a worker; it is the generation API's key")

    return NeedsProviderKey


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings."""
    redis_broker = settings.broker_url.startswith(("redis", "sentinel"))
    broker, results = for_kombu(settings.broker_url), for_kombu(settings.result_url)
    transport = _redis_transport() if redis_broker else {"confirm_publish": True}
    return {
        "broker_url": broker.url,
        "broker_use_ssl": broker.ssl,
        "broker_transport_options": {**transport, **broker.options},
        "result_backend": results.url,
        "redis_backend_use_ssl": results.ssl,
        "result_backend_transport_options": results.options,
        # The default gives up after 100 tries: a broker that was away for long would leave dead workers behind.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # Retrying a channel error would pop and lose messages in a loop while Redis is out of memory.
        "broker_channel_error_retry": False,
        "broker_pool_limit": 64,
        "broker_pool_acquire_timeout": 10,
        # Queues are reached by name through the anonymous exchange: its binding cannot get lost.
        "task_queues": [_door_queue(settings), *map(_queue, (SUBMIT, RECONCILE, DELIVER))],
        "task_default_queue": settings.generate_queue,
        # Links, chains and chords of producers go on in queues of their own, whose names only they know.
        "task_create_missing_queues": True,
        # Acknowledged when done: a crash gives the message out again. The record makes a second run harmless.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # Its 180 s ETA is beyond safe waits on Redis.
        "task_retry_on_worker_lost": False,
        # Killing tasks in mid-POST is what makes submissions doubtful.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Threads: the work is waiting for HTTP. gevent was slower here and stalled after silent network drops.
        # Time limits and max_tasks_per_child mean nothing to threads: each call has a deadline (worker.provider).
        "worker_pool": "threads",
        # Messages in work at once. A submit message keeps BOOMERANG_CONCURRENCY posts going by itself.
        "worker_concurrency": 16,
        # After a lost connection the pool's threads would set the prefetch count and read RabbitMQ's answers instead of
        # the main one, which waits for the rest of a frame for good.
        "worker_enable_prefetch_count_reduction": False,
        # Messages do not age in a worker's memory.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": redis_broker,
        # Only boomerang.generate keeps a result; all else is read from the record.
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "result_expires": 24 * 3600,
        "redis_socket_timeout": SOCKET_TIMEOUT,
        "redis_socket_connect_timeout": 3,
        "redis_retry_on_timeout": False,
        "redis_backend_health_check_interval": HEALTH_CHECK,
        # worker.flower_events makes events from the jobs' changes; Celery's own would call a parked job done.
        "worker_send_task_events": False,
        "task_send_sent_event": False,
        # A SIGTERM lets what is under way end; then messages go back. An idle worker holds no ETA and need not wait.
        "worker_soft_shutdown_timeout": 30,
        "worker_enable_soft_shutdown_on_idle": False,
        # Revokes, the doctor and Flower's pages about workers need it; whoever may publish can also shut workers down.
        "worker_enable_remote_control": settings.remote_control is Switch.ON,
        "worker_hijack_root_logger": True,
        "worker_proc_alive_timeout": 30,
        # JSON only: a pickle from the broker would be code.
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        # The schedule is one interval: it needs no file to remember it.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": TICK,
        "beat_schedule": {
            RECONCILE: {
                "task": RECONCILE,
                "schedule": TICK,
                # Without `expires`: by a worker's clock that is ahead, every round would have expired.
                "options": {"queue": RECONCILE, "ignore_result": True},
            }
        },
    }


def _queue(name: str, **options: Any) -> Any:
    return Queue(name, Exchange(""), routing_key=name, **options)  # type: ignore[no-untyped-call]


def _door_queue(settings: Settings) -> Any:
    # Only this one: what gets lost of the others is a hint.
    quorum = settings.generate_queue_type is QueueType.QUORUM
    return _queue(settings.generate_queue, queue_arguments={"x-queue-type": "quorum"} if quorum else None)


def _redis_transport() -> dict[str, Any]:
    return {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK,
        # Not `retry_on_timeout`: it publishes twice.
        "visibility_timeout": VISIBILITY,
        # Unacknowledged messages are looked for every 10 s; by default it takes 100 s although the time-out has passed.
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "unacked_restore_limit": 1000,
        "client_name": "boomerang",
    }
