"""All metrics: names, labels and meanings. `make docs` writes their reference page from `DECLARATIONS`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class Kind(StrEnum):
    """The type of a metric, as Prometheus names it."""

    GAUGE = "gauge"
    COUNTER = "counter"


class Source(StrEnum):
    """Where a metric's value is from."""

    STATE = "state"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One metric. `name` has no `_total`; the client library appends it to the names of counters."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str
    source: Source = Source.STATE

    @property
    def exposed_name(self) -> str:
        """The name that Prometheus reads."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name

    def family(self, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
        """The metric with its values, each with the values of its labels."""
        family = CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily
        metric = family(self.name, self.about, labels=self.labels)
        for labels, value in values:
            metric.add_metric(labels, value)
        return metric

    def counter(self, registry: CollectorRegistry) -> Counter:
        """A counter of this process, registered in `registry`."""
        return Counter(self.name, self.about, self.labels, registry=registry)


STORE_UP = Declaration(
    "boomerang_store_up", Kind.GAUGE, (), "1 while Redis answers. While it is 0, the other state metrics are absent."
)
JOBS = Declaration("boomerang_jobs", Kind.GAUGE, ("state",), "Jobs in each state.")
READY = Declaration(
    "boomerang_ready",
    Kind.GAUGE,
    ("pool",),
    "Jobs that wait for admission, by pool of lanes. The pool of the lanes that take every job has an empty name.",
)
WINDOW = Declaration("boomerang_window", Kind.GAUGE, ("lane",), "Dispatched images: admitted, not yet claimed.")
SLOTS = Declaration("boomerang_slots", Kind.GAUGE, ("lane",), "Images that the provider may be working on.")
SLOTS_LIMIT = Declaration(
    "boomerang_slots_limit",
    Kind.GAUGE,
    ("lane",),
    "The most slots that may be in use: the lower of the configured and the learned limit. 0 is no limit.",
)
HELD = Declaration(
    "boomerang_held",
    Kind.GAUGE,
    ("lane",),
    "1 while the lane submits nothing: it is on hold, or its circuit breaker is open.",
)
BREAKER_OPEN = Declaration(
    "boomerang_breaker_open", Kind.GAUGE, ("lane",), "1 while the lane's circuit breaker is open."
)
BREAKER_OPENED = Declaration(
    "boomerang_breaker_opened", Kind.COUNTER, ("lane",), "How often the lane's circuit breaker has opened."
)
SPENT = Declaration("boomerang_spent_usd", Kind.COUNTER, ("lane",), "Cost of all recorded results, in US dollars.")
UNKNOWN_COSTS = Declaration(
    "boomerang_unknown_costs",
    Kind.COUNTER,
    ("lane",),
    "Results whose cost is unknown: the provider sent an amount that cannot be read, or none although a limit applies.",
)
CONTRADICTED = Declaration(
    "boomerang_contradicted",
    Kind.COUNTER,
    (),
    "Reports of the provider that contradict an earlier end of a job. The log has a line for each.",
)
UNREADABLE = Declaration(
    "boomerang_unreadable_answers",
    Kind.COUNTER,
    (),
    "Answers of the provider about a job that cannot be read, or say completed without a result. Such a job still "
    "expires at its deadline. The log has a line for each job, with the start of the answer.",
)
EPOCHS = Declaration(
    "boomerang_epochs",
    Kind.COUNTER,
    (),
    "How often the jobs' Redis was restarted or replaced and may have lost writes.",
)
REFUSED = Declaration(
    "boomerang_refused",
    Kind.GAUGE,
    (),
    "1 while the service accepts no work, because the jobs' Redis does not hold the jobs that it should hold.",
)
DEAD_ENDS = Declaration(
    "boomerang_dead_ends",
    Kind.GAUGE,
    ("kind",),
    "What is stuck, by kind: installation and service (everything), in_doubt (for ten minutes or longer), delivery, "
    "lane, cap, cost (of a job, unknown), damaged, unreadable.",
)
LAST_ROUND = Declaration(
    "boomerang_last_round_seconds",
    Kind.GAUGE,
    (),
    "When a round of reconcile last began, in seconds since 1970. 0 before the first.",
)
LAST_ROUND_AGE = Declaration(
    "boomerang_last_round_age_seconds",
    Kind.GAUGE,
    (),
    "Seconds since a round of reconcile last began, by Redis's clock. One begins each second. Absent before the first.",
)
TROUBLE = Declaration(
    "boomerang_trouble",
    Kind.GAUGE,
    ("code",),
    "1 while this keeps the service from its work, by code: broker_away (as workers see it), no_worker, workers_busy, "
    "beat_away, queue_unread, stalled, refused.",
)
IMAGES = Declaration("boomerang_images", Kind.GAUGE, (), "Reference images that are stored.")
IMAGE_BYTES = Declaration(
    "boomerang_image_bytes", Kind.GAUGE, (), "Size of the stored reference images, in whichever image store they are."
)
CALLBACKS = Declaration(
    "boomerang_callbacks",
    Kind.COUNTER,
    ("outcome",),
    "Callbacks by outcome: finished, noted, already, stale, unknown, contradicted, unreadable (the provider is asked "
    "instead), verified (GET or HEAD), unavailable, or refused_ and the reason or status.",
    Source.PROCESS,
)
JOBS_RECEIVED = Declaration(
    "boomerang_jobs_received",
    Kind.COUNTER,
    ("outcome",),
    "Jobs received over HTTP, by outcome: created, known, conflict, imageless (an image that it names is not stored); "
    "lines of batches also refused.",
    Source.PROCESS,
)
TURNED_AWAY = Declaration(
    "boomerang_turned_away",
    Kind.COUNTER,
    ("reason",),
    "Requests answered 429 because the service is full, by what: jobs, memory, or the key's own limit or part (key).",
    Source.PROCESS,
)
CONNECTIONS_CLOSED = Declaration(
    "boomerang_connections_closed",
    Kind.COUNTER,
    ("reason",),
    "Connections that the webhook closed: head (it came too slowly, or was too long), slow_body, slow_answer (the "
    "client sent or read too slowly), address (too many of one address), full (too many in all).",
    Source.PROCESS,
)
PLACES = Declaration(
    "boomerang_places",
    Kind.COUNTER,
    ("pool", "outcome"),
    "Long requests that got no place (refused), or had to give theirs to another producer (gave_way). Pools: waits, "
    "transfers (uploads and results), events, slow (clients that a thread waits for), strangers (such clients without "
    "a valid key), memory (of bodies).",
    Source.PROCESS,
)
HINTS = Declaration(
    "boomerang_hints",
    Kind.COUNTER,
    ("task", "sent"),
    'Messages to workers. Those with sent="no" could not be sent: the alarms replace them.',
    Source.PROCESS,
)
SAVES_OWED = Declaration(
    "boomerang_saves_owed", Kind.GAUGE, (), "Jobs whose results are still to be saved to the result store."
)
SAVES_OLDEST = Declaration(
    "boomerang_saves_oldest_seconds",
    Kind.GAUGE,
    (),
    "Seconds since the oldest result came that is still to be saved; 0 without one.",
)
UNSAVED = Declaration(
    "boomerang_unsaved",
    Kind.GAUGE,
    (),
    "Jobs whose results could not be saved: `boomerang-server stuck` lists them, `boomerang-server save` tries again.",
)
UNSAVED_OLDEST = Declaration(
    "boomerang_unsaved_oldest_seconds", Kind.GAUGE, (), "Seconds since the oldest of them was given up; 0 without one."
)
SAVED = Declaration("boomerang_saved", Kind.COUNTER, (), "Jobs whose results were saved.")
NOTIFICATIONS = Declaration(
    "boomerang_notifications",
    Kind.GAUGE,
    (),
    "Notifications that are being sent now, of at most `BOOMERANG_MAX_NOTIFYING` places.",
)
NOTIFICATIONS_TO_ONE = Declaration(
    "boomerang_notifications_to_one_receiver",
    Kind.GAUGE,
    (),
    "Those to the receiver that has most of them. `GET /v1/receivers` names receivers; here are only counts.",
)
NOTIFICATIONS_WAITING = Declaration(
    "boomerang_notifications_waiting_producers",
    Kind.GAUGE,
    (),
    "Producers with a notification that waits for a place.",
)
RECEIVERS_OPEN = Declaration(
    "boomerang_receivers_open",
    Kind.GAUGE,
    (),
    "Receivers of notifications whose circuit breaker is open, also those that are disabled.",
)
#: All metrics, in the order of the reference page.
DECLARATIONS = (
    *(STORE_UP, JOBS, READY, WINDOW, SLOTS, SLOTS_LIMIT, HELD, BREAKER_OPEN, BREAKER_OPENED, SPENT, UNKNOWN_COSTS),
    *(CONTRADICTED, UNREADABLE, EPOCHS, REFUSED, DEAD_ENDS, LAST_ROUND, LAST_ROUND_AGE, TROUBLE, IMAGES, IMAGE_BYTES),
    *(NOTIFICATIONS, NOTIFICATIONS_TO_ONE, NOTIFICATIONS_WAITING, RECEIVERS_OPEN),
    *(SAVES_OWED, SAVES_OLDEST, UNSAVED, UNSAVED_OLDEST, SAVED),
    *(CALLBACKS, JOBS_RECEIVED, TURNED_AWAY, CONNECTIONS_CLOSED, PLACES, HINTS),
)
