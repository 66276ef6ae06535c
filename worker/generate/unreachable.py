"""A check, before anything is paid, that every task that follows a producer's task would reach a queue, and may do so.

The worker sends these tasks, so its routes decide, not the producer's. The check finds the destination of each as
Celery would, and asks the broker about it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from jobs.errors import DestinationRefused
from schemas import clean
from worker.routes import ROUTING, Destination, Routes

#: Fields that contain signatures: in a continuation and in a signature's options.
_SIGNATURE_FIELDS = ("link", "link_error", "chain", "chord")
#: Celery's tasks that call another task in the worker that receives them.
_MAPS = ("celery.map", "celery.starmap")
#: Seconds for which the broker is not asked again about a destination that it has.
REMEMBERED = 30.0
#: Most destinations that are remembered.
_MOST = 1_000
#: Faults that a refusal names. The broker is not asked about further tasks: the producer decides how many there are.
_MOST_FAULTS = 20
#: Characters of a fault, which quotes names that the producer chose.
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class _Step:
    """A task that will be sent with these routing options. `calls`: the task that a map calls."""

    name: str
    options: Mapping[str, Any]
    calls: str = ""


class Reachability:
    """Finds the tasks of a continuation that would reach no queue. `clock` is monotonic, in seconds."""

    def __init__(self, app: Celery, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._known: dict[Destination, float] = {}

    def __call__(self, continuation: str) -> list[str]:
        """Return what is wrong with the first 20 tasks of a continuation (JSON) that would reach no queue."""
        steps = _steps(json.loads(continuation), {})
        faults = (f"{clean(step.name)}: {clean(why, _LONGEST)}" for step in steps if (why := self._fault(step)))
        return sorted(set(islice(faults, _MOST_FAULTS)))

    def _fault(self, step: _Step) -> str:
        amqp: Routes = self._app.amqp
        try:
            options = amqp.router.route(dict(step.options), step.calls or step.name)
            to = amqp.destination_of(options)
        except (TypeError, ValueError, AttributeError, LookupError) as error:
            return f'its queue, exchange or routing key cannot be used ({error}). Give it a queue: .set(queue="…")'
        if not amqp.is_ours(to):
            try:
                amqp.link_queues.check(to.exchange, to.routing_key)
                return self._missing(to)
            except DestinationRefused as error:
                return str(error)
        if (step.calls or step.name) in self._app.tasks:
            return ""
        if step.options.get("queue"):
            return (
                f"this service reads the queue {to.routing_key!r} and does not know the task. "
                'Give it the queue of your own workers: .set(queue="…")'
            )
        return (
            "no queue is named. This service does not know your routes. Give every task that follows its queue: "
            '.set(queue="…")'
        )

    def _missing(self, to: Destination) -> str:
        """Ask the broker. If it does not answer, the message is accepted, and a failure shows when it is sent."""
        now = self._clock()
        if self._known.get(to, 0.0) > now:
            return ""
        # A connection of its own: RabbitMQ closes a channel that asks for something that does not exist.
        with self._app.connection_for_write() as connection:
            errors = (KombuError, OSError, *connection.connection_errors, *connection.channel_errors)
            try:
                with connection.channel() as channel:
                    why = str(channel.missing(to.exchange, to.routing_key, to.kind))
            except errors:
                return ""
        if why:
            return f"{why}. Start the worker that reads it, or declare it, before you send this"
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[to] = now + REMEMBERED
        return ""


def _steps(value: Any, over: Mapping[str, Any]) -> Iterator[_Step]:
    """Yield the tasks that a signature will send, or those in a structure that contains signatures.

    `over` are routing options of a canvas around it, which replace the task's: Celery hands those of a group and of a
    chord to all members, and those of a chain to its first member.
    """
    if isinstance(value, list):
        for each in value:
            yield from _steps(each, over)
    elif isinstance(value, Mapping):
        options, name = value.get("options") or {}, str(value.get("task") or "")
        routing = {key: options[key] for key in ROUTING if options.get(key) is not None} | dict(over)
        if name:
            yield from _members(name, value.get("kwargs") or {}, routing)
        for part in (options, {} if name else value):
            for field in _SIGNATURE_FIELDS:
                if field in part:
                    yield from _steps(part[field], {})


def _members(name: str, kwargs: Mapping[str, Any], routing: Mapping[str, Any]) -> Iterator[_Step]:
    match name:
        case "celery.group":
            for each in kwargs.get("tasks") or []:
                # Celery drops the options of a group inside a group.
                inner = isinstance(each, Mapping) and each.get("task") == name
                yield from _steps({**each, "options": {}} if inner else each, routing)
        case "celery.chord":
            yield from _steps(kwargs.get("header") or [], routing)
            yield from _steps(kwargs.get("body") or [], routing)
        case "celery.chain":
            tasks = kwargs.get("tasks") or []
            yield from _steps(tasks[:1], routing)
            yield from _steps(tasks[1:], {})
        case "celery.chunks":
            # Celery drops the options of chunks themselves.
            yield _Step("celery.starmap", {}, _called(kwargs))
        case _:
            yield _Step(name, routing, _called(kwargs) if name in _MAPS else "")


def _called(kwargs: Mapping[str, Any]) -> str:
    task = kwargs.get("task")
    return str(task.get("task") if isinstance(task, Mapping) else task)
