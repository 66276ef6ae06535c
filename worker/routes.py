"""Where a task's message goes. Queues and exchanges of producers are used as they are: the worker never declares one.

A declaration would create a queue without readers, or fail, because the producer's queue has other properties
(RabbitMQ: 406 PRECONDITION_FAILED). Messages for producers are published as `mandatory`, so that the broker reports one
that no queue takes (`jobs.errors.Unroutable`). All messages that follow a task pass here, also those of Celery's
built-in tasks, so BOOMERANG_LINK_QUEUES is compared here (`jobs.errors.DestinationRefused`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery.app.amqp import AMQP, Queues
from kombu import Exchange, Queue

from jobs.connections.link_queues import LinkQueues

#: The options of a signature that decide about its destination.
ROUTING = ("queue", "exchange", "routing_key", "exchange_type")


@dataclass(frozen=True, slots=True)
class Destination:
    """A queue (`routing_key` with `exchange` empty), or an exchange. `kind`: the exchange's type, if it was named."""

    exchange: str
    routing_key: str
    kind: str = ""


class ProducersQueues(Queues):
    """The app's queues. Any other queue is known by its name alone: it is neither declared nor kept here."""

    def __missing__(self, name: str) -> Any:
        return Queue(name, Exchange(""), routing_key=name, no_declare=True)  # type: ignore[no-untyped-call]


class Routes(AMQP):
    """Celery's sender of messages. Set it as `Celery(amqp=…)`."""

    queues_cls = ProducersQueues
    #: Where tasks that follow a job may be sent; nowhere, unless `create_app` sets it.
    link_queues = LinkQueues(())

    def destination_of(self, options: Mapping[str, Any]) -> Destination:
        """Return where Celery sends a message with these options (`ROUTING`, after the router).

        The same rules as in `celery.app.amqp.AMQP._create_task_sender`, but for one: the default exchange with a
        routing key is the queue of that name.
        """
        given, exchange, routing_key = (options.get(name) for name in ROUTING[:3])
        if given is None and exchange is None:
            given = self.default_queue
        queue: Any = self.queues[given] if isinstance(given, str) else given
        kind = options.get("exchange_type") or ""
        if exchange == "" and routing_key and (queue is None or self._is_ours(queue.name)):
            return Destination("", routing_key)
        if (kind or (queue.exchange.type if queue else "direct")) == "direct" and not (exchange and routing_key):
            return Destination("", queue.name if queue else "")
        if exchange is None:
            return Destination(queue.exchange.name, routing_key or queue.routing_key, kind)
        return Destination(exchange, routing_key or "", kind)

    def is_ours(self, destination: Destination) -> bool:
        """Return whether workers of this service read what is sent there."""
        return not destination.exchange and self._is_ours(destination.routing_key)

    def _is_ours(self, name: str) -> bool:
        return name in self.queues

    def _create_task_sender(self) -> Any:
        send = super()._create_task_sender()

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            to = self.destination_of(options)
            if self.is_ours(to):
                return send(producer, name, message, **options)
            self.link_queues.check(to.exchange, to.routing_key)
            if not to.exchange:
                options |= {"queue": to.routing_key, "exchange": None, "routing_key": None, "exchange_type": None}
            channel = producer.channel
            # Only Redis needs the type. RabbitMQ knows its exchanges.
            knows_types = hasattr(channel, "kinds")
            if knows_types:
                channel.kinds = {to.exchange: to.kind} if to.kind else {}
            try:
                return send(producer, name, message, **{**options, "declare": [], "mandatory": True})
            finally:
                if knows_types:
                    channel.kinds = {}

        return send_task_message
