"""Which outcomes each Lua verb has. tests/jobs/store/test_outcomes.py compares them with the Lua files."""

from collections.abc import Mapping
from enum import StrEnum

from jobs.delivery_log import EnableOutcome, ReplayOutcome
from jobs.new_job import Outcome
from jobs.receivers import BeginOutcome
from jobs.store.outcomes.batches import (
    ApproveOutcome,
    BatchPauseOutcome,
    BeginPilotOutcome,
    CommitOutcome,
    SweepOutcome,
)
from jobs.store.outcomes.bulks import AbortBulkOutcome, BeginBulkOutcome
from jobs.store.outcomes.celery import MessageOutcome, ParkOutcome, RefusalOutcome, RevokeOutcome
from jobs.store.outcomes.deliveries import (
    DeliveryOutcome,
    RecordSaveOutcome,
    RedeliverOutcome,
    RemoveOutcome,
    ResaveOutcome,
)
from jobs.store.outcomes.images import KeepOutcome
from jobs.store.outcomes.installation import FoundOutcome, RefuseOutcome, TolerateOutcome
from jobs.store.outcomes.jobs import (
    CallbackOutcome,
    CancelOutcome,
    ExpireOutcome,
    FinishOutcome,
    InDoubtOutcome,
    InProgressOutcome,
    LookupOutcome,
    MoveOutcome,
    PauseOutcome,
    RegenerateOutcome,
    RequeueOutcome,
    RetryOutcome,
    ReviewOutcome,
    ReviseOutcome,
)
from jobs.store.outcomes.lanes import ProbeOutcome
from jobs.store.outcomes.repairs import CorrectOutcome, RecountOutcome, SettleCostOutcome, SettleOutcome

#: Verb → its outcomes. The other verbs answer with data.
OUTCOMES: Mapping[str, type[StrEnum]] = {
    "abort_bulk": AbortBulkOutcome,
    "approve": ApproveOutcome,
    "begin_bulk": BeginBulkOutcome,
    "begin_notification": BeginOutcome,
    "begin_pilot": BeginPilotOutcome,
    "begin_refusal": RefusalOutcome,
    "begin_sweep": SweepOutcome,
    "cancel": CancelOutcome,
    "commit": CommitOutcome,
    "delivered": DeliveryOutcome,
    "enable_receiver": EnableOutcome,
    "enqueue": Outcome,
    "event_delivered": DeliveryOutcome,
    "expire": ExpireOutcome,
    "finish": FinishOutcome,
    "found": FoundOutcome,
    "image_kept": KeepOutcome,
    "mark_in_doubt": InDoubtOutcome,
    "mark_in_progress": InProgressOutcome,
    "message_finished": MessageOutcome,
    "move_to_lane": MoveOutcome,
    "park": ParkOutcome,
    "pause": BatchPauseOutcome,
    "pause_job": PauseOutcome,
    "probed": ProbeOutcome,
    "record_callback": CallbackOutcome,
    "record_save": RecordSaveOutcome,
    "results_removed": RemoveOutcome,
    "recount": RecountOutcome,
    "redeliver": RedeliverOutcome,
    "refuse": RefuseOutcome,
    "repair_counters": CorrectOutcome,
    "regenerate": RegenerateOutcome,
    "replay": ReplayOutcome,
    "requeue": RequeueOutcome,
    "reschedule_lookup": LookupOutcome,
    "resave": ResaveOutcome,
    "retry": RetryOutcome,
    "review": ReviewOutcome,
    "revise": ReviseOutcome,
    "revoke": RevokeOutcome,
    "settle": SettleOutcome,
    "settle_cost": SettleCostOutcome,
    "stage": Outcome,
    "tolerate": TolerateOutcome,
}
