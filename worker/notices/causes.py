"""Find what there is to tell people. Each cause has an index, so this costs in proportion to what is wrong."""

import logging
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from jobs.errors import BatchNotFound, RecordDamaged
from jobs.fields import printable
from jobs.notices import Notice, NoticeClass
from jobs.read_models import Batch, Lane
from jobs.states import State
from jobs.store.manual import Stuck
from jobs.store.store import Store
from jobs.store.stuck import LONG, MOST

log = logging.getLogger(__name__)

#: Seconds for which a circuit breaker is open before people are told: shorter absences need nobody.
OPEN_FOR = 60.0
#: Seconds: the end of a batch is announced once for each end.
_ONCE = 30 * 24 * 3600.0


def find_notices(store: Store, wanted: Collection[NoticeClass]) -> Iterator[Notice]:
    """Yield all notices of these classes, without the texts that need a batch (`complete`)."""
    stuck = store.manual.stuck(LONG, MOST)
    yield from (each for each in _batches(store, stuck) if each.about in wanted)
    if NoticeClass.CAP_REACHED in wanted:
        yield from _caps(sorted({queue.split("|", 2)[-1] for queue, _ in stuck.capped.named}), stuck.now)
    if NoticeClass.PROVIDER_AWAY in wanted:
        yield from (_away(lane) for lane in _lanes(store) if _is_away(lane, stuck.now))
    if NoticeClass.RECEIVER_DISABLED in wanted:
        yield from _disabled(store)


def _batches(store: Store, stuck: Stuck) -> Iterator[Notice]:
    for batch, at in store.notices.batch_ends(stuck.now):
        yield Notice(about=NoticeClass.BATCH_DONE, subject=batch, since=at, remind=_ONCE)
    for batch, since in stuck.at_cap.named:
        yield Notice(about=NoticeClass.BATCH_PAUSED, subject=batch, since=since)
    for about in (NoticeClass.BATCH_WAITS, NoticeClass.BATCH_FORGOTTEN):
        for batch, since in store.notices.waiting_batches(about, stuck.now):
            yield Notice(about=about, subject=batch, since=since)


def _caps(payers: Collection[str], now: datetime) -> Iterator[Notice]:
    """Yield a notice for each key that is stopped by its budget. A budget is for a day of UTC."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for key in (payer[1:] for payer in payers if payer.startswith("k")):
        who = f"the key {printable(key)}" if key else "callers without a key"
        yield Notice(
            about=NoticeClass.CAP_REACHED,
            subject=key,
            since=today,
            what=f"The budget of {who} for the day of {today:%d %B} (UTC) is spent, or reserved for jobs under way. "
            "Its other jobs wait.",
            do="Nothing, if they may wait for the next day. Otherwise raise max_cost_per_day: "
            f"boomerang-server keys limits {printable(key)}, or BOOMERANG_KEY_LIMITS.",
        )


def _lanes(store: Store) -> tuple[Lane, ...]:
    try:
        return store.lanes.get_all()
    except RecordDamaged as error:
        log.warning("notices about provider accounts are not sent: %s", error)
        return ()


def _is_away(lane: Lane, now: datetime) -> bool:
    if lane.settings is None or lane.paused or not lane.held or lane.held_since is None:
        return False
    return now - lane.held_since >= timedelta(seconds=OPEN_FOR if lane.open_since else LONG)


def _away(lane: Lane) -> Notice:
    reason = printable(lane.reason or "no reason is known")
    if lane.open_since:
        what = f"The provider (lane {lane.name}) does not answer, so no job is submitted to it: {reason}."
        do = (
            "Check the provider's status page, the network and BOOMERANG_PROVIDER_URL. "
            "Work goes on by itself at the first answer."
        )
    else:
        what = f"The provider (lane {lane.name}) refuses, so no job is submitted to it: {reason}."
        do = "Check the account: 401 needs a valid key, 402 credit, 403 access. Work then goes on by itself."
    since = lane.held_since or lane.open_since
    if since is None:
        raise AssertionError  # _is_away
    return Notice(about=NoticeClass.PROVIDER_AWAY, subject=lane.name, since=since, what=what, do=do)


def _disabled(store: Store) -> Iterator[Notice]:
    for owner in store.statistics.owners():
        for each in store.delivery_log.receivers(owner):
            if each.disabled_at:
                of = f" of {owner}" if owner else ""
                yield Notice(
                    about=NoticeClass.RECEIVER_DISABLED,
                    subject=f"{owner}|{each.name}",
                    since=each.disabled_at,
                    what=f"The receiver {printable(each.name)}{of} failed for too long and gets no notifications any "
                    f"more. The last error: {printable(each.error) or 'unknown'}.",
                    do=f"Repair it, then run: boomerang replay --host {printable(each.name)}",
                )


def complete(store: Store, notice: Notice) -> Notice | None:
    """Return a notice with its text; None: there is nothing to tell any more."""
    if notice.what:
        return notice
    try:
        batch = store.batches.get(notice.subject)
    except BatchNotFound:
        return None
    except RecordDamaged as error:
        log.warning("batch %s: no notice of it is sent: %s", notice.subject, error)
        return None
    if notice.about is NoticeClass.BATCH_DONE:
        return _done(notice, batch) if batch.done else None
    if notice.about in (NoticeClass.BATCH_WAITS, NoticeClass.BATCH_FORGOTTEN):
        # It may have been approved, resumed or cancelled since it was found.
        return _waiting(notice, batch) if batch.paused and batch.counts[State.QUEUED] else None
    what = f"The batch {batch.id} is paused: {printable(batch.reason or 'its max_cost is reached')}."
    do = f"Raise its cap and go on: boomerang resume {batch.id} --max-cost USD. Or: boomerang cancel {batch.id}."
    return _with_text(notice, what, do)


def _done(notice: Notice, batch: Batch) -> Notice:
    counts = ", ".join(f"{count:,} {state}" for state, count in batch.counts.items() if count)
    what = f"The batch {batch.id} is done: {counts}. It cost {batch.cost:f} USD."
    if batch.unknown_costs:
        what += f" The costs of {batch.unknown_costs:,} jobs are unknown."
    failed = sum(batch.errors.values())
    do = f"See the results: boomerang results {batch.id}."
    return _with_text(notice, what, do + (f" Retry the failed ones: boomerang retry {batch.id}." if failed else ""))


def _waiting(notice: Notice, batch: Batch) -> Notice:
    waiting, pilot = f"{batch.counts[State.QUEUED]:,} jobs of it wait", batch.pilot
    if batch.expected_cost is not None:
        waiting += f"; all together it is expected to cost {batch.expected_cost:f} USD"
    if notice.about is NoticeClass.BATCH_FORGOTTEN:
        do = f"Go on: boomerang resume {batch.id}. Or: boomerang cancel {batch.id}."
        return _with_text(notice, f"The batch {batch.id} is paused on request. {waiting}.", do)
    what = f"The batch {batch.id} waits for your approval. {waiting}."
    do = f"Approve it: boomerang approve {batch.id}. Or: boomerang cancel {batch.id}."
    if pilot and pilot.jobs:
        what = f"The pilot of the batch {batch.id} is over: {pilot.jobs:,} jobs cost {pilot.cost:f} USD. {waiting}."
        do = f"See its results: boomerang results {batch.id}. {do}"
    return _with_text(notice, what, do)


def _with_text(notice: Notice, what: str, do: str) -> Notice:
    return Notice(
        about=notice.about, subject=notice.subject, since=notice.since, what=what, do=do, remind=notice.remind
    )
