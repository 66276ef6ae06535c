"""The state of all jobs in Redis. Each method that changes something runs one Lua verb (or one per step)."""

import redis

from jobs.settings import Settings
from jobs.store.attempts import Attempts
from jobs.store.audit_trail import AuditTrail
from jobs.store.batch_events import BatchEvents
from jobs.store.batches import Batches
from jobs.store.bulks import Bulks
from jobs.store.celery_messages import CeleryMessages
from jobs.store.context import StoreContext
from jobs.store.continuity import Continuity
from jobs.store.deliveries import Deliveries
from jobs.store.delivery_log import DeliveryLog
from jobs.store.event_stream import EventStream
from jobs.store.forecasts import Forecasts
from jobs.store.history import History
from jobs.store.jobs import Jobs
from jobs.store.lanes import Lanes
from jobs.store.limits import Limits
from jobs.store.liveness import Liveness
from jobs.store.lua_source import REDIS_TIME
from jobs.store.manifests import Manifests
from jobs.store.manual import Manual
from jobs.store.notices import Notices
from jobs.store.redis_keys import Keys
from jobs.store.regenerations import Regenerations
from jobs.store.reviews import Reviews
from jobs.store.revisions import Revisions
from jobs.store.saves import Saves
from jobs.store.scripts import Scripts
from jobs.store.search import Search
from jobs.store.statistics import Statistics
from jobs.store.uploads import Uploads


class Store:
    """The parts of the store, by subject. Every method raises `StoreUnavailable` when Redis does not answer.

    Nothing is retried here. A verb is atomic, and calling it again with the same arguments changes nothing more. With
    `may_load=False` a process runs the scripts that Redis has and loads none.
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        keys: Keys | None = None,
        clock: str = REDIS_TIME,
        *,
        may_load: bool = True,
    ) -> None:
        keys = keys or Keys()
        scripts = Scripts(client, keys, clock, settings.replicas, may_load=may_load)
        self.context = context = StoreContext(client, keys, scripts, settings, Limits(scripts, settings))
        self.jobs = Jobs(context)
        self.attempts = Attempts(context)
        self.deliveries = Deliveries(context, self.jobs)
        self.delivery_log = DeliveryLog(context, self.jobs)
        self.saves = Saves(context, self.jobs)
        self.manifests = Manifests(context)
        self.batches = Batches(context, self.jobs)
        self.batch_events = BatchEvents(context)
        self.bulks = Bulks(context)
        self.regenerations = Regenerations(context)
        self.reviews = Reviews(context, self.jobs)
        self.revisions = Revisions(context)
        self.uploads = Uploads(context)
        self.forecasts = Forecasts(context)
        self.lanes = Lanes(context)
        self.celery = CeleryMessages(context)
        self.continuity = Continuity(context)
        self.liveness = Liveness(context)
        self.statistics = Statistics(context)
        self.history = History(context)
        self.search = Search(context, self.jobs)
        self.events = EventStream(context)
        self.manual = Manual(context)
        self.notices = Notices(context)
        self.audit_trail = AuditTrail(context)

    def ping(self) -> None:
        """Check that Redis answers and has the scripts; raise `StoreUnavailable` otherwise."""
        self.context.scripts.ready()
