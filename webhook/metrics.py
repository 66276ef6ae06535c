"""Metrics for Prometheus: the state, read from the store at each scrape, and counters of this process.

Every process reports the same state. Counters are per process, and one process serves an address
(`webhook.gunicorn_conf`): run more instances for more capacity, and scrape each of them.
webhook/metric_declarations.py lists all metrics.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from jobs.errors import StoreUnavailable
from jobs.liveness import Pulse, TroubleCode, find_troubles
from jobs.read_models import Lane, Totals
from jobs.receivers import NotificationLoad
from jobs.store.saves import Backlog
from jobs.store.store import Store
from jobs.store.stuck import counted
from webhook import metric_declarations as declared

_log = logging.getLogger(__name__)
_Label = TypeVar("_Label", bound=str)


class Counters:
    """Counts of this process since it started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.callbacks = declared.CALLBACKS.counter(self.registry)
        self.jobs = declared.JOBS_RECEIVED.counter(self.registry)
        self.turned_away = declared.TURNED_AWAY.counter(self.registry)
        self.connections_closed = declared.CONNECTIONS_CLOSED.counter(self.registry)
        self.places = declared.PLACES.counter(self.registry)
        self.hints = declared.HINTS.counter(self.registry)


class StateCollector(Collector):
    """Reads the store at each scrape."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of the state, or only `boomerang_store_up 0` while Redis is away."""
        try:
            store = self._store()
            totals, lanes = store.statistics.totals(), store.lanes.get_all()
            pulse = store.liveness.pulse()
            notifications = store.statistics.notifications()
            stuck, backlog = counted(store, lanes), store.saves.backlog()
        except StoreUnavailable as error:
            _log.warning("metrics without state: %s", error)
            yield declared.STORE_UP.family([((), 0)])
            return
        yield declared.STORE_UP.family([((), 1)])
        yield declared.REFUSED.family([((), int(bool(pulse.refusal)))])
        yield declared.DEAD_ENDS.family(_labelled(stuck))
        yield from _of_totals(totals)
        yield from _of_notifications(notifications)
        yield from _of_backlog(backlog)
        yield from _of_pulse(pulse)
        yield from _of_lanes([lane for lane in lanes if lane.settings])


def _of_totals(totals: Totals) -> Iterator[Metric]:
    yield declared.JOBS.family(_labelled(totals.counts))
    yield declared.READY.family(_labelled(totals.ready))
    yield declared.IMAGES.family([((), totals.images)])
    yield declared.IMAGE_BYTES.family([((), totals.image_bytes)])
    yield declared.CONTRADICTED.family([((), totals.contradicted)])
    yield declared.UNREADABLE.family([((), totals.unreadable)])
    yield declared.EPOCHS.family([((), totals.epoch)])


def _of_notifications(load: NotificationLoad) -> Iterator[Metric]:
    yield declared.NOTIFICATIONS.family([((), load.under_way)])
    yield declared.NOTIFICATIONS_TO_ONE.family([((), load.to_busiest)])
    yield declared.NOTIFICATIONS_WAITING.family([((), load.waiting_producers)])
    yield declared.RECEIVERS_OPEN.family([((), load.open_breakers)])


def _of_backlog(backlog: Backlog) -> Iterator[Metric]:
    def age(since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (backlog.now - since).total_seconds())

    yield declared.SAVES_OWED.family([((), backlog.owed)])
    yield declared.SAVES_OLDEST.family([((), age(backlog.oldest_owed))])
    yield declared.UNSAVED.family([((), backlog.unsaved)])
    yield declared.UNSAVED_OLDEST.family([((), age(backlog.oldest_unsaved))])
    yield declared.SAVED.family([((), backlog.saved)])


def _of_pulse(pulse: Pulse) -> Iterator[Metric]:
    yield declared.LAST_ROUND.family([((), pulse.round_at or 0)])
    yield declared.LAST_ROUND_AGE.family([] if pulse.round_age is None else [((), pulse.round_age)])
    codes = {trouble.code for trouble in find_troubles(pulse)}
    yield declared.TROUBLE.family(((code,), int(code in codes)) for code in TroubleCode)


def _of_lanes(lanes: list[Lane]) -> Iterator[Metric]:
    values: tuple[tuple[declared.Declaration, Callable[[Lane], float]], ...] = (
        (declared.SLOTS, lambda lane: lane.slots),
        (declared.SLOTS_LIMIT, lambda lane: lane.limit),
        (declared.WINDOW, lambda lane: lane.dispatched),
        (declared.HELD, lambda lane: int(lane.held)),
        (declared.BREAKER_OPEN, lambda lane: int(lane.open_since is not None)),
        (declared.BREAKER_OPENED, lambda lane: lane.opened),
        (declared.SPENT, lambda lane: float(lane.cost or 0)),
        (declared.UNKNOWN_COSTS, lambda lane: lane.unknown_costs),
    )
    for declaration, value in values:
        yield declaration.family(((lane.name,), value(lane)) for lane in lanes)


def _labelled(values: Mapping[_Label, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    return (((str(label),), value) for label, value in values.items())
