"""What Flower (2.2) leaves open when it runs as `celery -A worker.main:app flower`: a page, and its own end.

Its pages and its API ask for the password, its `/metrics` do not, although they name workers, tasks and queues; here
they do. `/healthcheck`, `/static`, `/login` and `/logout` are open on purpose: they say nothing about the service.

At SIGTERM it raises SystemExit wherever the main thread is just then, and Python then waits for its pool of threads,
which wait for the broker: with a broker that does not answer it runs on until somebody kills it. Here SIGTERM stops its
loop, and what does not end by itself in a few seconds is left behind: Flower has nothing that must be finished.

Imported in Flower's process only: no other has it installed for sure.
"""

import asyncio
import atexit
import logging
import os
import signal
from typing import Any

from flower.views.monitor import Metrics
from tornado.web import authenticated

log = logging.getLogger(__name__)

#: Seconds after SIGTERM: whatever still waits for the broker then is not waited for.
LONGEST_END = 3


def take_over() -> None:
    """Do so, before Flower starts its loop, which is this thread's."""
    Metrics.get = authenticated(Metrics.get)
    # Flower sets its own handler after this, before it starts the loop.
    asyncio.get_event_loop().call_soon(_end_at_sigterm)


def _end_at_sigterm() -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        log.info("SIGTERM: Flower ends")
        loop.stop()

    def on_sigterm(*_: Any) -> None:
        signal.alarm(LONGEST_END)
        # Once all else has ended there is no interpreter left that could hear the alarm.
        atexit.register(signal.alarm, 0)
        loop.call_soon_threadsafe(end)

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, on_sigterm)
