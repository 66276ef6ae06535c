"""Every Lua verb is idempotent: when its reply is lost, any process may call it again.

`tests/jobs/store/test_life.py` repeats verbs at random. This module repeats each of them, so that none is missing.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import redis

from jobs import review
from jobs.bulk import BulkAction
from jobs.job import Delivery
from jobs.job_filter import JobFilter
from jobs.lane_health import PROBE_BASE
from jobs.limits import Subject
from jobs.liveness import WorkerState
from jobs.new_job import BatchOptions, NewJob
from jobs.notices import Notice, NoticeClass
from jobs.result import Result
from jobs.saved import Saved
from jobs.states import State
from jobs.store.lua_source import verb_files
from jobs.store.manual import Verdict
from jobs.store.scripts import Scripts
from tests.support.bench import Bench, new

S = State
VERBS = set(verb_files())
DEAD = Result(error={"code": "1201", "message": "refused"})


def new_jobs(*ids: str) -> list[NewJob]:
    return [NewJob(id=each, text='{"prompt":"a fox"}', model="kirin_image_omni") for each in ids]


def fence(b: Any) -> int:
    return int(b.store.jobs.get("fox").fence)


def open_breaker(b: Any) -> None:
    """Open the lane's breaker, with a probe that is due."""
    b.store.jobs.enqueue(new_jobs(*"abcde"))
    for claim in b.store.attempts.claim(b.store.attempts.admit(10).ids):
        b.store.attempts.mark_in_doubt(claim.id, claim.fence, "ReadTimeout", reachability="silence")
    b.forward(PROBE_BASE)


def owed_delivery(b: Any) -> Any:
    b.put(S.COMPLETED, owed="n")
    (due,) = b.store.deliveries.claim(["fox"])
    return due


def begun_notification(b: Any) -> Any:
    """Return a claim and a place, which another job waits for."""
    due = owed_delivery(b)
    turn = b.store.deliveries.begin_notification(due, "shop.example", 1)
    b.put(S.COMPLETED, "hen", owed="n")
    (waiting,) = b.store.deliveries.claim(["hen"])
    b.store.deliveries.begin_notification(waiting, "shop.example", 1)
    return due, turn


def break_invariant(command: str, key: str, *rest: Any) -> Callable[[Any], Any]:
    """Return a function that makes a waiting job and then breaks an invariant with one command."""
    return lambda b: (b.job(), b.raw.execute_command(command, "{b}:" + key, *rest))


def repair(*call: Any) -> Callable[[Any, Any], Any]:
    return lambda b, _: b.store.context.scripts.call(*call)


def unknown_cost(b: Any) -> None:
    """Pause a batch because the cost of a job is unknown."""
    b.store.jobs.enqueue(new_jobs("x1", "x2"), "x", BatchOptions(max_cost=Decimal("0.1")))
    b.store.attempts.claim(b.store.attempts.admit(1).ids)
    b.store.attempts.finish("x1", S.COMPLETED, Result(unreadable_cost="$0.0065"), "poll")
    b.store.attempts.admit(1)


def give_up_delivery(b: Any) -> None:
    b.store.deliveries.give_up(owed_delivery(b), Delivery.NOTIFY, "it answered 404")


def saving(b: Any) -> Any:
    """Return the saves of a service with a result store."""
    return b.with_settings(result_store="file:///srv/results").saves


def owed_save(b: Any) -> None:
    saving(b).announce()
    b.put(S.COMPLETED)


SAVED = Saved(datetime(2026, 1, 2, tzinfo=UTC), ())


def claimed_save(b: Any) -> Any:
    owed_save(b)
    (due,) = b.store.saves.claim(60.0, 8, 1)
    return due


def batch_event(b: Any) -> str:
    options = BatchOptions(callback_url="https://shop.example/", notify_unbegun=True)
    b.store.jobs.enqueue(new_jobs("x1"), "x", options)
    b.store.jobs.cancel("x1")
    (event,) = b.store.delivery_log.of_batch("x")
    return str(event.id)


AWAY = Notice(about=NoticeClass.PROVIDER_AWAY, subject="default", since=datetime(2023, 1, 1, tzinfo=UTC))


def park_message(b: Any, state: State = S.IN_PROGRESS) -> None:
    b.job()
    b.store.celery.park("fox", "task-1", '{"task_id":"task-1"}')
    b.put_on(state)


def enqueue_batch(b: Any, *ids: str) -> None:
    b.store.jobs.enqueue(new_jobs(*ids), "x")


def begin_bulk(b: Any) -> None:
    b.store.bulks.begin("0123456789abcdef", BulkAction.CANCEL, JobFilter(batch="x"), asked={"batch": "x"})


def begun_bulk(b: Any) -> None:
    """Begin a bulk action of which no step is done: the process died."""
    enqueue_batch(b, "a", "b")
    asked = {"action": "cancel", "filter": JobFilter(batch="x").to_script_json(BulkAction.CANCEL.states)}
    facts = json.dumps(asked | {"asked": {}, "key": ""})
    assert b.store.context.scripts.call("begin_bulk", "0123456789abcdef", "*", facts, 3, 50) == "begun"


def without_record(b: Any) -> None:
    """Make a Redis in which no worker has begun: the installation has no record."""
    b.raw.delete("{b}:epoch")


def stored_image(b: Any) -> Any:
    b.images().put(b.placeholder_image(b"a fox"))
    (found,) = b.images().find([b.placeholder_image(b"a fox").hash])
    return found


def read_lost_image(b: Any, each: Any) -> None:
    with pytest.raises(Exception, match=each.hash):
        b.images().read(each)


#: verb -> (a preparation, the call to repeat). The call gets what the preparation returns.
CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "announce_saves": (lambda b: None, lambda b, _: saving(b).announce()),
    "claim_saves": (owed_save, lambda b, _: b.store.saves.claim(60.0, 8, 1)),
    "due_saves": (
        lambda b: (owed_save(b), b.forward(100_000)),
        lambda b, _: b.store.saves.find_due(),
    ),
    "record_save": (claimed_save, lambda b, due: b.store.saves.failed(due, "it answered 500", 2.0)),
    "renew_saves": (
        lambda b: (claimed_save(b), b.forward(1))[0],
        lambda b, due: b.store.saves.renew(60.0, [("fox", due.job.fence)]),
    ),
    "results_removed": (
        lambda b: (b.store.saves.saved(claimed_save(b), SAVED), b.store.jobs.get("fox"))[1],
        lambda b, job: b.store.saves.removed("fox", job.created_at, SAVED.at),
    ),
    "resave": (
        lambda b: b.store.saves.give_up(claimed_save(b), "it answered 404"),
        lambda b, _: b.store.saves.retry(["fox"]),
    ),
    "admit": (lambda b: b.store.jobs.enqueue(new_jobs("a", "b")), lambda b, _: b.store.attempts.admit(10)),
    "reschedule_lookup": (
        lambda b: (b.put(S.IN_PROGRESS), b.due())[1],
        lambda b, due: b.store.attempts.reschedule_lookup(due, 5.0),
    ),
    "begin_notification": (
        owed_delivery,
        lambda b, due: b.store.deliveries.begin_notification(due, "shop.example", 1),
    ),
    "end_notification": (
        begun_notification,
        lambda b, given: b.store.deliveries.end_notification(*given, limit=1, random=0.5),
    ),
    "begin_refusal": (lambda b: None, lambda b, _: b.store.celery.begin_refusal("mark")),
    "end_refusal": (lambda b: b.store.celery.begin_refusal("mark"), lambda b, _: b.store.celery.end_refusal("mark")),
    "begin_sweep": (lambda b: enqueue_batch(b, "a", "b"), lambda b, _: b.store.batches.cancel("x")),
    "abort_bulk": (begun_bulk, lambda b, _: b.store.bulks.abort("0123456789abcdef")),
    "begin_bulk": (lambda b: enqueue_batch(b, "a", "b"), lambda b, _: begin_bulk(b)),
    "bulk": (begun_bulk, lambda b, _: b.store.bulks.advance(bulk_id="0123456789abcdef")),
    "cancel": (lambda b: b.put(S.IN_PROGRESS), lambda b, _: b.store.jobs.cancel("fox")),
    "claim": (lambda b: (b.job(), b.store.attempts.admit(1)), lambda b, _: b.store.attempts.claim(["fox"])),
    "commit": (
        lambda b: b.store.uploads.stage("t", new_jobs("a", "b")),
        lambda b, _: b.store.uploads.commit("t", "x", 2, BatchOptions()),
    ),
    "delivered": (owed_delivery, lambda b, due: b.store.deliveries.record(due, Delivery.NOTIFY)),
    "mark_in_doubt": (
        lambda b: b.put(S.SUBMITTING),
        lambda b, _: b.store.attempts.mark_in_doubt("fox", fence(b), "read timed out"),
    ),
    "claim_due": (
        lambda b: (b.put(S.IN_PROGRESS), b.forward(b.alarm("fox"))),
        lambda b, _: b.store.attempts.claim_due(10),
    ),
    "enable_receiver": (
        lambda b: b.store.deliveries.end_notification(
            *begun_notification(b), limit=1, random=0.5, retry_in=5.0, why="ReadTimeout", begin=0
        ),
        lambda b, _: b.store.delivery_log.enable("", "shop.example"),
    ),
    "claim_notices": (lambda b: None, lambda b, _: b.store.notices.claim("t", [AWAY])),
    "notices_sent": (
        lambda b: b.store.notices.claim("t", [AWAY]),
        lambda b, _: b.store.notices.record_sent("t", [AWAY]),
    ),
    "due_events": (batch_event, lambda b, _: b.store.batch_events.find_due(10)),
    "event_delivered": (
        lambda b: b.store.batch_events.claim([batch_event(b)])[0],
        lambda b, event: b.store.batch_events.give_up(event, "it answered 404"),
    ),
    "replay": (give_up_delivery, lambda b, _: b.store.delivery_log.replay(["fox"], "*")),
    "enqueue": (lambda b: None, lambda b, _: b.store.jobs.enqueue(new_jobs("a", "b"), "x")),
    "expire": (lambda b: (b.put(S.IN_PROGRESS), b.due())[1], lambda b, due: b.store.attempts.expire(due, 30.0)),
    "finish": (lambda b: b.put(S.IN_PROGRESS), lambda b, _: b.store.attempts.finish("fox", S.FAILED, DEAD, "poll")),
    "found": (without_record, lambda b, _: b.store.continuity.establish(b.store.continuity.standing())),
    "heartbeat": (lambda b: None, lambda b, _: b.store.liveness.beat(WorkerState.BUSY, ["boomerang.submit"])),
    "pause_job": (lambda b: b.job(), lambda b, _: b.store.jobs.pause("fox")),
    "change_limits": (
        lambda b: b.job(),
        lambda b, _: b.store.context.limits.change(Subject.KEY, "shop", {"weight": 2}, reset=["priority"]),
    ),
    "pause_lane": (lambda b: b.job(), lambda b, _: b.store.lanes.pause("default", "why", expires_in=60)),
    "hold": (lambda b: b.job(), lambda b, _: b.store.lanes.hold("429", base=8.0, cap=20.0)),
    "image_begun": (lambda b: None, lambda b, _: b.images().put(b.placeholder_image(b"a fox"))),
    "image_kept": (lambda b: None, lambda b, _: b.images().put(b.placeholder_image(b"a fox"))),
    "image_known": (lambda b: (stored_image(b), b.forward(60))[0], lambda b, each: b.images().find([each.hash])),
    "image_lost": (lambda b: (stored_image(b), b.stored.clear())[0], read_lost_image),
    "images_gone": (lambda b: (stored_image(b), b.forward(200_000)), lambda b, _: b.images().purge()),
    "images_old": (lambda b: (stored_image(b), b.forward(200_000)), lambda b, _: b.images().purge()),
    "repair_counters": (
        break_invariant("HINCRBY", "lane:default", "slots", 1),
        repair("repair_counters", "", "me 1", 60_000, "{b}:lane:default", "slots", -1, "0"),
    ),
    "repair_day": (break_invariant("HSET", "d:19675", "ldefault", 0), repair("repair_day", "1", "19675")),
    "repair_event": (
        lambda b: (batch_event(b), b.raw.delete(b.keys.singleton("event_alarms"))),
        repair("repair_event", "1", "x"),
    ),
    "repair_image": (
        lambda b: (each := stored_image(b), b.raw.zrem("{b}:images", each.hash))[0],
        lambda b, each: b.store.context.scripts.call("repair_image", "1", each.hash),
    ),
    "repair_job": (break_invariant("ZREM", "alarms", "fox"), repair("repair_job", "1", 60_000_000, "fox")),
    "repair_notification": (
        lambda b: b.raw.zadd("{b}:ns:p|shop", {"fox": 1}),
        repair("repair_notification", "1", "p|shop", "fox"),
    ),
    "repair_save": (lambda b: b.raw.sadd("{b}:bs:x", "fox"), repair("repair_save", "1", "x", "fox")),
    "repair_label": (
        break_invariant("ZADD", "y:shop=rome", 1, "fox"),
        repair("repair_label", "1", "job", "shop=rome", "fox"),
    ),
    "repair_owner": (
        lambda b: b.raw.zadd("{b}:ob:shop", {"x": 1}),
        repair("repair_owner", "1", "batch", "shop", "x"),
    ),
    "repair_object": (
        stored_image,
        lambda b, each: b.store.context.scripts.call("repair_object", "1", each.hash, each.object),
    ),
    "repair_pool": (break_invariant("HINCRBY", "p:", "ready", 1), repair("repair_pool", "1", "", "[]", "|1|k")),
    "repair_queue": (
        break_invariant("ZADD", "q:|1|bx", 1, "fox"),
        repair("repair_queue", "1", "|1|bx", "fox"),
    ),
    "repair_bulk": (break_invariant("ZADD", "bulks", 1, "x"), repair("repair_bulk", "1", "x")),
    "repair_review": (
        break_invariant("ZADD", "mk:a|x", 1, "0:fox"),
        repair("repair_review", "1", "fox", "x", "0"),
    ),
    "repair_sweep": (break_invariant("ZADD", "sweeps", 1, "x"), repair("repair_sweep", "1", "x")),
    "record_callback": (
        lambda b: b.put(S.IN_PROGRESS),
        lambda b, _: b.store.attempts.record_callback("fox", needs_lookup=True),
    ),
    "approve": (
        lambda b: b.store.jobs.enqueue(new_jobs("a", "b"), "x", BatchOptions(pilot=1)),
        lambda b, _: b.store.batches.approve("x"),
    ),
    "begin_pilot": (
        lambda b: b.store.jobs.enqueue(new_jobs("a", "b"), "x", BatchOptions(pilot=1)),
        lambda b, _: b.store.batches.begin_pilot("x", ["a"]),
    ),
    "park": (lambda b: b.job(), lambda b, _: b.store.celery.park("fox", "task-1", "{}")),
    "pause": (lambda b: enqueue_batch(b, "a"), lambda b, _: b.store.batches.pause("x")),
    "probe": (open_breaker, lambda b, _: b.store.lanes.claim_probes()),
    "probed": (
        lambda b: (open_breaker(b), b.store.lanes.claim_probes()[0])[1],
        lambda b, probe: b.store.lanes.record_probe(probe, answered=False, wait=7.0),
    ),
    "purge": (lambda b: (b.put(S.COMPLETED), b.forward(1_000_000)), lambda b, _: b.store.jobs.purge()),
    "roll_history": (lambda b: (b.put(S.COMPLETED), b.forward(10_000)), lambda b, _: b.store.history.roll()),
    "redeliver": (give_up_delivery, lambda b, _: b.store.deliveries.retry(["fox"])),
    "refuse": (
        lambda b: b.job(),
        lambda b, _: b.store.continuity.refuse(
            b.store.continuity.standing(), "the data are older", b.store.continuity.standing().sighting
        ),
    ),
    "move_to_lane": (
        lambda b: (b.put(S.IN_DOUBT), b.due())[1],
        lambda b, due: b.store.attempts.move_to_lane(due, "other"),
    ),
    "requeue": (
        lambda b: b.put(S.SUBMITTING),
        lambda b, _: b.store.attempts.requeue("fox", fence(b), "429", count=True),
    ),
    "retry": (lambda b: b.put(S.FAILED), lambda b, _: b.store.jobs.retry("fox")),
    "regenerate": (
        lambda b: b.put(S.COMPLETED),
        lambda b, _: b.store.regenerations.regenerate("fox", new("fox.r2")),
    ),
    "review": (
        lambda b: b.put(S.COMPLETED),
        lambda b, _: b.store.reviews.review("fox", 0, review.Verdict.REJECTED, note="a paw too many", by="shop-1"),
    ),
    "revise": (lambda b: b.put(S.FAILED), lambda b, _: b.store.revisions.revise(new("fox", '{"prompt":"a calm fox"}'))),
    "revoke": (park_message, lambda b, _: b.store.celery.revoke(["task-1", "task-2"])),
    "stage": (lambda b: None, lambda b, _: b.store.uploads.stage("t", new_jobs("a", "b"))),
    "settle": (
        lambda b: b.put(S.IN_DOUBT),
        lambda b, _: b.store.manual.settle(b.store.jobs.get("fox"), Verdict.SENT, task_id="t1"),
    ),
    "settle_cost": (unknown_cost, lambda b, _: b.store.manual.settle_cost("x1", Decimal("0.0065"))),
    "mark_in_progress": (
        lambda b: b.put(S.SUBMITTING),
        lambda b, _: b.store.attempts.mark_in_progress("fox", fence(b), "t1"),
    ),
    "sweep": (lambda b: enqueue_batch(b, "a", "b"), lambda b, _: b.store.batches.cancel("x")),
    "tolerate": (
        lambda b: (b.job(), b.store.continuity.standing())[1],
        lambda b, there: b.store.continuity.tolerate(there, there.sighting),
    ),
    "message_finished": (lambda b: park_message(b, S.COMPLETED), lambda b, _: finish_parked(b)),
    "unstage": (lambda b: b.store.uploads.stage("t", new_jobs("a", "b")), lambda b, _: b.store.uploads.discard("t")),
}
READS: dict[str, Callable[[Any], Any]] = {
    "show_bulks": lambda b: b.store.bulks.last(),
    "check": lambda b: b.store.forecasts.check(new_jobs("fox", "hare")),
    "forecast": lambda b: b.store.forecasts.forecast("", {"m|1|": 3}, {""}, BatchOptions()),
    "batch": lambda b: b.store.batches.get("x"),
    "find_jobs": lambda b: b.store.jobs.page(),
    "owners": lambda b: b.store.jobs.owners(["fox"]),
    "parked": lambda b: b.store.celery.get_parked("fox"),
    "pulse": lambda b: b.store.liveness.pulse(),
    "limits": lambda b: b.store.context.scripts.call("limits"),
    "recount": lambda b: b.store.context.scripts.call("recount", "0-0", 1, 100, '["fox"]', '[["{b}:lane:default"]]'),
    "slots_limits": lambda b: b.store.context.scripts.call("slots_limits", "default", 5),
    "standing": lambda b: b.store.continuity.standing(),
    "stuck": lambda b: b.store.manual.stuck(60.0, 5),
    "wait_reasons": lambda b: b.store.jobs.with_reason(b.store.jobs.get("fox")),
}
#: Verbs that act again, harmlessly, as their Lua files explain: the call, and the key and fields that it changes.
ACTS_AGAIN: dict[str, tuple[Callable[[Any], Any], str, set[str]]] = {
    "claim_events": (lambda b: b.store.batch_events.claim([batch_event(b)]), "ev:!x!finished.1", {"fence"}),
    "claim_deliveries": (lambda b: b.store.deliveries.claim(["fox"]), "j:fox", {"j"}),
    "recover": (lambda b: b.store.continuity.recover(), "epoch", {"number"}),
}


def finish_parked(b: Any) -> None:
    (message,) = b.store.celery.get_parked("fox")
    b.store.celery.park("fox", "task-1", "{}", message.mark)
    assert b.store.celery.message_finished("fox", message.mark) == "finished"


@pytest.fixture
def lose(bench: Bench, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[Any, Any, Any]]]:
    """`lose(verb)`: repeat the next call of the verb. Its list gets the data before, after, and after the repeat."""

    def stored() -> dict[str, Any]:
        # Staged jobs are packed bytes, not text.
        options = {"decode_responses": True, "encoding_errors": "surrogateescape"}
        with redis.Redis.from_url(redis_url, **options) as raw:
            return replace(bench, raw=raw).dump()

    def arm(verb: str) -> list[tuple[Any, Any, Any]]:
        sent = Scripts.call_each
        seen: list[Any] = []

        def calls(scripts: Scripts, wanted: Sequence[tuple[Any, ...]]) -> list[Any]:
            if seen or verb not in {name for name, *_ in wanted}:
                return sent(scripts, wanted)
            before, first, once = stored(), sent(scripts, wanted), stored()
            sent(scripts, wanted)
            seen.append((before, once, stored()))
            return first

        monkeypatch.setattr(Scripts, "call_each", calls)
        return seen

    return arm


def test_every_verb_is_repeated() -> None:
    assert sorted([*CHANGES, *READS, *ACTS_AGAIN]) == sorted(VERBS)


@pytest.mark.parametrize("verb", CHANGES)
def test_a_repeat_changes_nothing(bench: Bench, lose: Callable[[str], list[tuple[Any, Any, Any]]], verb: str) -> None:
    arrange, call = CHANGES[verb]
    given = arrange(bench)
    seen = lose(verb)
    call(bench, given)
    ((before, once, again),) = seen
    assert once != before
    assert again == once
    assert bench.audit() == []


@pytest.mark.parametrize("verb", READS)
def test_a_verb_that_reads_changes_nothing(
    bench: Bench, lose: Callable[[str], list[tuple[Any, Any, Any]]], verb: str
) -> None:
    enqueue_batch(bench, "fox")
    seen = lose(verb)
    READS[verb](bench)
    ((before, once, again),) = seen
    assert before == once == again


@pytest.mark.parametrize("verb", ACTS_AGAIN)
def test_a_verb_that_acts_again_changes_only_its_listed_fields(
    bench: Bench, lose: Callable[[str], list[tuple[Any, Any, Any]]], verb: str
) -> None:
    call, key, fields = ACTS_AGAIN[verb]
    bench.put(S.COMPLETED, owed="n")
    seen = lose(verb)
    call(bench)
    ((before, once, again),) = seen
    assert once != before
    changed = {name for name in once[key] | again[key] if once[key].get(name) != again[key].get(name)}
    assert changed == fields
    assert {**once, key: None} == {**again, key: None}
