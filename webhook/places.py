"""Places for requests that take long, shared fairly between producers.

Their numbers together are below gunicorn's threads (webhook.gunicorn_conf), so that short requests always find one.
They are separate, so that long polls do not keep uploads out.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from flask import Flask, Response, g, request
from prometheus_client import Counter

from webhook.access.auth import caller
from webhook.http.connection import Direction, TooSlow, connection_of
from webhook.http.fair_pool import FairPool, Place
from webhook.http.problems import unavailable

#: Requests that wait for a job, uploads and results, saved files, streams of events, and requests for whose client a
#: thread waits: those of producers, and those without a valid key.
WAITS = 32
TRANSFERS = 16
DOWNLOADS = 16
EVENTS = 8
SLOW = 96
STRANGERS = 8


class Places:
    """The places for one kind of long requests. `counter` counts those that got none, and those that gave way."""

    def __init__(self, name: str, amount: int, counter: Counter) -> None:
        self.name = name
        self._pool = FairPool(amount, lambda outcome: counter.labels(name, outcome).inc())

    def take(self, holder: str, amount: int, give_way: Callable[[], None], is_slow: Callable[[], bool]) -> Place | None:
        """Return a place, or None if the holder has its share. The request ends when `give_way` is called."""
        return self._pool.take(holder, amount, give_way, is_slow)

    @contextmanager
    def try_enter(self, direction: Direction | None = None) -> Iterator[Place | None]:
        """Have a place until the block ends. Yields None if the caller has its share.

        When the place is lost, the body or the answer is cut; without a `direction`, the block watches `place.lost`.
        """
        place = self.take(caller().holder, 1, _cutter(direction), _slowness())
        try:
            yield place
        finally:
            if place:
                place.release()

    @contextmanager
    def enter(self, direction: Direction | None = None) -> Iterator[Place]:
        """Have a place until the block ends. Raises a problem, 503, if the caller has its share."""
        with self.try_enter(direction) as place:
            if place is None:
                raise unavailable(
                    f"Your key has its share of the places for {self.name}, and other producers have theirs. "
                    "Send the same again when one of your requests has ended."
                )
            yield place

    def stream(self, make: Callable[[Place], Response], direction: Direction | None = None) -> Response:
        """Return the answer that `make` makes, and keep the place until it is sent or the client is gone.

        Raises a problem, 503, if the caller has its share, and what `make` raises.
        """
        with ExitStack() as running:
            answer = make(running.enter_context(self.enter(direction)))
            answer.call_on_close(running.pop_all().close)
            return answer

    def for_body(self) -> Place:
        """Return an empty place for the body of this request. It is given back when the request has been handled."""
        place = self.take(caller().holder, 0, _cutter(Direction.BODY), _slowness())
        if place is None:
            raise RuntimeError("an empty place is always there")
        g.setdefault("places_of_bodies", []).append(place)
        return place


def interruptions(place: Place) -> Callable[[], None]:
    """Return a function for work that sends nothing for long. It raises once the place is lost or the client is gone.

    The error closes the connection quietly.
    """
    connection = connection_of(request.environ)

    def check() -> None:
        if place.lost:
            raise TooSlow("another client needs the place of this answer")
        if connection and connection.has_gone():
            raise TooSlow("the client has closed the connection")

    return check


def set_up(app: Flask) -> None:
    """Give places of bodies back at the end of each request."""

    @app.teardown_request
    def release(_: BaseException | None) -> None:
        for place in g.pop("places_of_bodies", ()):
            place.release()


def _cutter(direction: Direction | None) -> Callable[[], None]:
    connection = connection_of(request.environ)
    return partial(connection.cut, direction) if connection and direction else lambda: None


def _slowness() -> Callable[[], bool]:
    connection = connection_of(request.environ)
    return connection.is_slow if connection else lambda: False
