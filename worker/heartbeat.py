"""Heartbeats: while a worker runs, it says so in the jobs' Redis, and in its health file.

The consumer's loop notes in memory that it runs and has its broker. A thread writes that to Redis every two seconds, so
that a Redis that does not answer cannot block the loop, and a loop without a broker can still be reported.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer.tasks import Tasks

from jobs.errors import StoreUnavailable
from jobs.liveness import HEARTBEAT_INTERVAL, SILENT_AFTER, WorkerState
from jobs.store.store import Store
from worker import health

log = logging.getLogger(__name__)

#: Seconds after the loop's last note until it counts as stopped, or as without a broker.
LOOP_SILENT_AFTER = 2 * HEARTBEAT_INTERVAL
#: How often the running tasks are read, at most, until no thread changes them meanwhile.
_READS = 5


@dataclass(frozen=True, slots=True)
class _Loop:
    """What the consumer's loop noted last, at a monotonic time (seconds). `full`: the tasks use all threads."""

    at: float
    queues: Sequence[str]
    running: frozenset[object]
    full: bool


class Heart:
    """The heartbeats of a worker process. `clock` is monotonic, in seconds."""

    def __init__(self, store: Callable[[], Store], clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._loop: _Loop | None = None
        self._unchanged_since = clock()
        self._stopping = threading.Event()
        self._noted = threading.Event()
        self._thread: threading.Thread | None = None

    def note_loop(self, queues: Sequence[str], running: Iterable[object] | None = (), *, full: bool = False) -> None:
        """Note that the consumer's loop runs, has its broker and reads these queues.

        `running`: the tasks under way, None: not known, so the last ones count; `full`: they use all threads.
        """
        now, before = self._clock(), self._loop
        if running is None:
            running, full = (before.running, before.full) if before else ((), False)
        tasks = frozenset(running)
        if before is None or before.running != tasks:
            self._unchanged_since = now
        self._loop = _Loop(now, queues, tasks, full)
        self._noted.set()

    def beat(self) -> None:
        """Write a heartbeat to the jobs' Redis. A Redis that does not answer is no error: rounds report it."""
        loop = self._loop
        alive = loop is not None and self._clock() - loop.at <= LOOP_SILENT_AFTER
        try:
            if loop and alive:
                # Full threads whose tasks change are work. They are a trouble when none of the tasks ends.
                hangs = loop.full and self._clock() - self._unchanged_since >= SILENT_AFTER
                self._store().liveness.beat(WorkerState.BUSY if hangs else WorkerState.READING, loop.queues)
            else:
                self._store().liveness.beat(WorkerState.CUT_OFF)
        except StoreUnavailable as error:
            log.debug("heartbeat not written: %s", error)
        except Exception:
            log.exception("heartbeat not written, because of an unexpected error; it is repeated")

    def start(self) -> None:
        """Start the thread that writes heartbeats."""
        self._thread = threading.Thread(target=self._run, name="boomerang-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        self._noted.set()
        if self._thread is not None:
            self._thread.join(HEARTBEAT_INTERVAL)

    def _run(self) -> None:
        # The loop's first note is written at once, so that a worker that starts does not count as cut off.
        self._noted.wait(HEARTBEAT_INTERVAL)
        while not self._stopping.is_set():
            # A worker that is stopping reads no queues, and is no sign of a broker that is away.
            if not _stopping():
                self.beat()
            self._stopping.wait(HEARTBEAT_INTERVAL)


def heart_step(heart: Heart) -> type:
    """Return the worker's bootstep that runs the thread."""

    class HeartbeatThread(bootsteps.StartStopStep):
        def start(self, _parent: Any) -> None:
            heart.start()

        def stop(self, _parent: Any) -> None:
            heart.stop()

    return HeartbeatThread


def heartbeat_step(heart: Heart, file: Path | None) -> type:
    """Return the consumer's bootstep that notes that the loop runs, also in the health file if there is one."""

    class Heartbeat(bootsteps.StartStopStep):
        requires = (Tasks,)
        _timer: Any = None

        def start(self, parent: Any) -> None:
            """Start a timer in the consumer's loop, which stops without a broker. Called at each connection."""
            # The consumer drops this timer when it loses its connection.
            self._timer = parent.timer.call_repeatedly(HEARTBEAT_INTERVAL, _beat, (parent, heart, file))
            _beat(parent, heart, file)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's own signature
            if self._timer is not None:
                self._timer.cancel()

    return Heartbeat


def _beat(consumer: Any, heart: Heart, file: Path | None) -> None:
    # `listens` is a method of jobs.connections.kombu's channels for Redis. RabbitMQ has heartbeats that end the loop.
    listens = getattr(consumer.task_consumer.channel, "listens", lambda: True)
    if not listens():
        return
    queues = [queue.name for queue in consumer.task_consumer.queues]
    running = running_tasks(state.active_requests)
    heart.note_loop(queues, running, full=running is not None and len(running) >= consumer.pool.limit)
    if file is None:
        return
    try:
        health.write(file)
    except OSError as error:
        log.error("the health file %s cannot be written: %s", file, error)  # noqa: TRY400 - no traceback needed


def running_tasks(requests: Iterable[Any]) -> frozenset[str] | None:
    """Return the ids of Celery's active requests; None if the pool's threads change the set at each read."""
    for _ in range(_READS):
        with suppress(RuntimeError):
            return frozenset(request.id for request in list(requests))
    return None


def _stopping() -> bool:
    # Celery sets these at the first signal; None or False before.
    return any(flag not in (None, False) for flag in (state.should_stop, state.should_terminate))
