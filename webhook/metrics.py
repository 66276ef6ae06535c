"""What Prometheus reads: the state from the store, and counters of this process.

The state's numbers are the same whichever process is asked. The counters are this process's own, which is honest
because there is one process to an address (webhook.gunicorn_conf): more capacity is more instances, each scraped alone.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.errors import StoreUnavailable
from jobs.read_models import Lane
from jobs.store.store import Store
from jobs.store.stuck import counted

_log = logging.getLogger(__name__)


class Counters:
    """Counts of this process since it started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.callbacks = Counter(
            "boomerang_callbacks", "Callbacks by what became of them.", ["outcome"], registry=self.registry
        )
        self.jobs = Counter(
            "boomerang_jobs_received", "Jobs received over HTTP, by outcome.", ["outcome"], registry=self.registry
        )
        self.turned_away = Counter(
            "boomerang_turned_away", "Requests that found no room for new jobs.", ["reason"], registry=self.registry
        )
        self.hints = Counter(
            "boomerang_hints", "Messages to workers: sent, or left to the alarms.", ["task", "sent"],
            registry=self.registry,
        )  # fmt: skip


class StateCollector(Collector):
    """Reads the store at each scrape."""

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The lane and the states; only `boomerang_store_up 0` while Redis is away."""
        try:
            store = self._store()
            totals, every = store.totals(), store.lanes()
            stuck = counted(store, every)
            refused = bool(store.refusal())
        except StoreUnavailable as error:
            _log.warning("metrics without state: %s", error)
            yield GaugeMetricFamily("boomerang_store_up", "Whether Redis answers.", 0)
            return
        yield GaugeMetricFamily("boomerang_store_up", "Whether Redis answers.", 1)
        jobs = GaugeMetricFamily("boomerang_jobs", "Jobs in each state.", labels=["state"])
        for state, count in totals.counts.items():
            jobs.add_metric([state], count)
        yield jobs
        yield from self._lanes([lane for lane in every if lane.settings])
        ends = GaugeMetricFamily("boomerang_dead_ends", "What does not go on by itself, by kind.", labels=["kind"])
        for kind, count in stuck.items():
            ends.add_metric([kind], count)
        yield ends
        about = "When a round of reconcile last began, in seconds since 1970; 0: never."
        last = totals.last_round.timestamp() if totals.last_round else 0
        yield GaugeMetricFamily("boomerang_last_round_seconds", about, last)
        yield GaugeMetricFamily("boomerang_images", "Reference images that are kept.", totals.images)
        yield GaugeMetricFamily("boomerang_image_bytes", "Their size.", totals.image_bytes)
        about = "Whether no work is taken in, for Redis does not hold the jobs that it should hold."
        yield GaugeMetricFamily("boomerang_refused", about, int(refused))
        ready = GaugeMetricFamily("boomerang_ready", "Jobs that wait for admission, by pool of lanes.", labels=["pool"])
        for pool, waiting in totals.ready.items():
            ready.add_metric([pool], waiting)
        yield ready
        yield CounterMetricFamily(
            "boomerang_contradicted", "Reports that contradict an earlier end.", totals.contradicted
        )
        about = "How often Redis was restarted or replaced, and may have forgotten something."
        yield CounterMetricFamily("boomerang_epochs", about, totals.epoch)

    def _lanes(self, lanes: Sequence[Lane]) -> Iterator[Metric]:
        def family(kind: type[Any], name: str, about: str, values: Iterable[float]) -> Metric:
            metric: Any = kind(name, about, labels=["lane"])
            for lane, value in zip(lanes, values, strict=True):
                metric.add_metric([lane.name], value)
            return cast("Metric", metric)

        gauge = GaugeMetricFamily
        slots = (lane.slots for lane in lanes)
        yield family(gauge, "boomerang_slots", "Images that the provider may be working on.", slots)
        most = (lane.limit for lane in lanes)
        yield family(gauge, "boomerang_slots_limit", "Most of them at once, as set and as learned; 0: no limit.", most)
        window = (lane.dispatched for lane in lanes)
        yield family(gauge, "boomerang_window", "Images on their way to a worker.", window)
        held = (int(lane.held) for lane in lanes)
        yield family(gauge, "boomerang_held", "Whether nothing is sent: a hold, or an open breaker.", held)
        open_ = (int(lane.open_since is not None) for lane in lanes)
        yield family(gauge, "boomerang_breaker_open", "Whether the lane's circuit breaker is open.", open_)
        opened = (lane.opened for lane in lanes)
        yield family(CounterMetricFamily, "boomerang_breaker_opened", "How often it has opened.", opened)
        spent = (float(lane.cost or 0) for lane in lanes)
        yield family(CounterMetricFamily, "boomerang_spent_usd", "Cost of all results taken in.", spent)
