"""kombu's transport for RabbitMQ, with channels that report a message which the broker could not route."""

from typing import Any

from amqp import exceptions
from kombu.transport import pyamqp

from jobs.errors import Unroutable

#: The queue or exchange exists, but this connection may not look at it.
_EXISTS = (exceptions.ResourceLocked, exceptions.AccessRefused, exceptions.PreconditionFailed)


class Channel(pyamqp.Channel):
    """A channel on which publishing raises `Unroutable` if RabbitMQ returns the message.

    RabbitMQ returns a message with the flag `mandatory` that no queue takes (basic.return), before it confirms it.
    amqp alone would raise an error before it has read that confirmation, and take it for that of the next message.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._returned: str | None = None
        self.events["basic_return"].add(self._on_returned)

    def _on_returned(self, error: Exception, exchange: str, routing_key: str, _message: Any) -> None:
        self._returned = f"{getattr(error, 'reply_text', '') or error}: {place(exchange, routing_key)}"

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        """Publish a message and wait for its confirmation. Raises `Unroutable` if the message was returned."""
        self._returned = None
        answer = super().basic_publish_confirm(*args, **kwargs)
        if self._returned:
            raise Unroutable(self._returned)
        return answer

    def missing(self, exchange: str, routing_key: str, kind: str) -> str:
        """Return what is missing at the broker for such a message, or an empty text. Nothing is created.

        Only the exchange's own bindings decide about a message to a named exchange, and no client can read them. An
        error of a missing queue closes the channel: use a separate one.
        """
        try:
            if exchange:
                self.exchange_declare(exchange, kind or "direct", passive=True)
            else:
                self.queue_declare(routing_key, passive=True)
        except exceptions.NotFound:
            return f"the broker has no {place(exchange, routing_key if not exchange else '')}"
        except _EXISTS:
            return ""
        return ""


def place(exchange: str, routing_key: str) -> str:
    """Name a destination: a queue, or an exchange with its routing key."""
    if not exchange:
        return f"queue {routing_key!r}"
    return f"exchange {exchange!r}" + (f", routing key {routing_key!r}" if routing_key else "")


class _Connection(pyamqp.Connection):
    Channel = Channel


class Transport(pyamqp.Transport):
    """kombu's transport for `amqp://`, with these channels."""

    Connection = _Connection


class EncryptedTransport(pyamqp.SSLTransport):
    """kombu's transport for `amqps://`, with these channels."""

    Connection = _Connection
