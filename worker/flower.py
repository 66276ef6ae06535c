"""Changes to Flower 2.2, run as `celery -A worker.main:app flower`: a password for `/metrics`, queues, a clean end.

Flower's pages and API need the password, but `/metrics`, which names workers, tasks and queues, does not. Here it does.
`/healthcheck`, `/static`, `/login` and `/logout` stay open: they reveal nothing about the service.

Flower lists the queues of all workers on the broker, also those of producers. It shows none if Redis refuses to count
one of them. Here such a queue has no number.

At SIGTERM Flower raises SystemExit, and Python then waits for a pool of threads, which waits for the broker. If the
broker does not answer, Flower never ends. Here SIGTERM stops its event loop, and threads that do not end within a few
seconds are abandoned: Flower has no work that must be finished.

Only Flower's process imports this module, because other processes may run without Flower installed.
"""

import asyncio
import atexit
import logging
import os
import signal
from collections.abc import Iterable
from typing import Any

from flower.utils.broker import RedisBase
from flower.views.monitor import Metrics
from tornado.web import authenticated

log = logging.getLogger(__name__)

#: Seconds after SIGTERM until threads that still wait for the broker are abandoned.
SHUTDOWN_TIMEOUT = 3


def take_over() -> None:
    """Apply the changes. Call it before Flower starts its event loop, in the same thread."""
    Metrics.get = authenticated(Metrics.get)
    RedisBase.queues = _count_queues
    # Flower sets its own handler after this, before it starts the loop.
    asyncio.get_event_loop().call_soon(_end_at_sigterm)


async def _count_queues(broker: RedisBase, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return {"name", "messages"} of each queue; `messages` is None where Redis refuses to count it."""
    counted = []
    async with broker.redis, broker.redis.pipeline(transaction=False) as pipe:
        for name in names:
            for priority in broker.priority_steps:
                pipe.llen(broker.broker_prefix + broker._q_for_pri(name, priority))  # noqa: SLF001 - as its own method does
            lengths = await pipe.execute(raise_on_error=False)
            refused = [each for each in lengths if isinstance(each, Exception)]
            if refused:
                log.warning("queue %s: not counted: %s", name, refused[0])
            counted.append({"name": name, "messages": None if refused else sum(lengths)})
    return counted


def _end_at_sigterm() -> None:
    loop = asyncio.get_running_loop()

    def end() -> None:
        log.info("received SIGTERM: Flower stops")
        loop.stop()

    def on_sigterm(*_: Any) -> None:
        signal.alarm(SHUTDOWN_TIMEOUT)
        # Cancel the alarm when Python exits: its handler could no longer run.
        atexit.register(signal.alarm, 0)
        loop.call_soon_threadsafe(end)

    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, on_sigterm)
