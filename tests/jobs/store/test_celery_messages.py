"""Celery messages are parked until their job ends, finished once each, and revoked before that."""

from typing import Any

import pytest

from jobs.audit.audit import audit
from jobs.fields import Field
from jobs.job import Delivery
from jobs.new_job import BatchOptions
from jobs.owners import CELERY
from jobs.result import Result
from jobs.states import State
from jobs.store.celery_messages import FINISHING, MOST_PARKED, REVOKE_KEPT, UNFINISHED, Message
from jobs.store.outcomes.celery import ParkOutcome, RefusalOutcome
from tests.support.bench import Bench, new
from worker.deliver import CONFIRMATION

S = State
DEAD = Result(error={"code": "1301", "message": "safety"})


def end(bench: Bench) -> None:
    assert bench.store.jobs.cancel("fox").owed


def test_a_message_is_parked_until_the_end_and_finished_once(bench: Bench) -> None:
    assert bench.store.celery.park("fox", "fox", "{}")[0] is ParkOutcome.UNKNOWN
    claim = bench.claimed()
    (outcome, mark, _), again = (bench.store.celery.park("fox", "fox", '{"chord":1}') for _ in range(2))
    assert (outcome, again) == (ParkOutcome.PARKED, (outcome, mark, 0))
    bench.store.attempts.finish("fox", S.FAILED, DEAD, "submit", fence=claim.fence)
    assert bench.store.celery.get_parked("fox") == [Message("fox", mark, '{"chord":1}')]
    # The same message again, and then the message that finishes it
    assert bench.store.celery.park("fox", "fox", '{"chord":1}')[:2] == (ParkOutcome.OWED, mark)
    assert bench.store.celery.park("fox", "fox", '{"chord":1,"parent_id":2}', mark)[:2] == (ParkOutcome.FINAL, mark)
    for _ in range(2):
        assert bench.store.celery.message_finished("fox", mark) == "finished"
    assert bench.store.celery.get_parked("fox") == []
    assert bench.store.jobs.get("fox").owed == frozenset()
    assert bench.alarm("fox") is None
    assert bench.store.celery.park("fox", "fox", '{"chord":1}')[:2] == (ParkOutcome.FINISHED, mark)
    # Another message under the same id counts as new
    assert bench.store.celery.park("fox", "fox", '{"chord":2}')[0] is ParkOutcome.FINAL


def test_two_workers_do_not_both_finish_a_message(bench: Bench) -> None:
    bench.job()
    _, mark, _ = bench.store.celery.park("fox", "fox", "{}")
    end(bench)
    outcomes = [bench.store.celery.park("fox", "fox", "{}", mark)[0] for _ in range(2)]
    assert outcomes == [ParkOutcome.FINAL, ParkOutcome.OWED]
    # The worker that began died: the message is still owed, and the next worker may finish it
    assert [message.mark for message in bench.store.celery.get_parked("fox")] == [mark]
    bench.forward(FINISHING + 1)
    assert FINISHING < CONFIRMATION
    assert bench.store.celery.park("fox", "fox", "{}", mark)[0] is ParkOutcome.FINAL
    assert bench.store.celery.message_finished("fox", mark) == "finished"
    assert bench.store.celery.park("fox", "fox", "{}", mark)[0] is ParkOutcome.FINISHED


def test_several_tasks_wait_for_one_job_and_each_is_finished(bench: Bench) -> None:
    bench.job()
    marks = {task_id: bench.store.celery.park("fox", task_id, f'"{task_id}"')[1] for task_id in ("fox", "a", "b")}
    assert len(set(marks.values())) == 3
    end(bench)
    assert {message.task_id: message.mark for message in bench.store.celery.get_parked("fox")} == marks
    assert [bench.store.celery.message_finished("fox", mark) for mark in marks.values()] == ["owed", "owed", "finished"]


def test_messages_of_one_task_with_different_continuations_are_all_finished(bench: Bench) -> None:
    bench.job()
    texts = ['{"chord":1}', '{"chord":2}', '{"chord":2,"chain":[]}']
    marks = [bench.store.celery.park("fox", "a\nb", text)[1] for text in texts]
    end(bench)
    assert sorted(bench.store.celery.get_parked("fox"), key=lambda message: message.continuation) == sorted(
        (Message("a\nb", mark, text) for mark, text in zip(marks, texts, strict=True)),
        key=lambda message: message.continuation,
    )
    assert [bench.store.celery.message_finished("fox", mark) for mark in marks] == ["owed", "owed", "finished"]


def test_a_repeat_by_another_sender_is_the_same_message(bench: Bench) -> None:
    bench.job()
    text = '{"task_id":"fox","reply_to":"%s","root_id":"%s"}'
    _, mark, _ = bench.store.celery.park("fox", "fox", text % (1, 1))
    assert bench.store.celery.park("fox", "fox", text % (2, 2))[:2] == (ParkOutcome.PARKED, mark)
    end(bench)
    assert bench.store.celery.park("fox", "fox", text % (3, 3))[:2] == (ParkOutcome.OWED, mark)
    assert [message.continuation for message in bench.store.celery.get_parked("fox")] == [text % (1, 1)]
    bench.store.celery.message_finished("fox", mark)
    assert bench.store.celery.park("fox", "fox", text % (4, 4))[:2] == (ParkOutcome.FINISHED, mark)


def test_a_message_that_the_version_before_parked_is_finished_once(bench: Bench) -> None:
    """It stored the Celery id alone as the field, and a repeat was the same text."""
    bench.job()
    bench.store.celery.park("fox", "task-1", "{}")
    bench.raw.delete("{b}:k:fox")
    bench.raw.hset("{b}:k:fox", "task-1", '{"chord":1}')
    _, mark, _ = bench.store.celery.park("fox", "task-1", '{"chord":1}')
    assert bench.raw.hkeys("{b}:k:fox") == ["task-1"]
    assert bench.store.celery.revoke(["task-1"]).cancelled == ("fox",)
    assert bench.store.celery.get_parked("fox") == [Message("task-1", mark, '{"chord":1}')]
    assert bench.store.celery.park("fox", "task-1", '{"chord":1}')[:2] == (ParkOutcome.OWED, mark)


@pytest.mark.parametrize("phase", [None, S.IN_PROGRESS], ids=["over", "still at the provider"])
@pytest.mark.parametrize("owed", ["", "n"], ids=["nothing else", "a notification"])
def test_a_message_that_comes_after_the_end_is_owed_until_it_is_finished(
    owed: str, phase: State | None, bench: Bench
) -> None:
    if phase:
        bench.put(phase, owed=owed)
        bench.store.jobs.cancel("fox")
    else:
        bench.put(S.COMPLETED, owed=owed)
    before, alarm = bench.store.jobs.get("fox").owed, bench.alarm("fox")
    outcome, mark, _ = bench.store.celery.park("fox", "late", '{"chord":1}')
    assert outcome is ParkOutcome.FINAL
    assert bench.store.jobs.get("fox").owed == before | {Delivery.CELERY}
    assert bench.alarm("fox") is not None
    # A copy that comes at the same time is dropped. If this worker dies, the message is sent again
    assert bench.store.celery.park("fox", "late", '{"chord":1}')[:2] == (ParkOutcome.OWED, mark)
    bench.forward(UNFINISHED + 1)
    (due,) = bench.store.deliveries.claim(["fox"])
    assert Delivery.CELERY in due.job.owed
    assert bench.store.celery.park("fox", "late", '{"chord":1}', mark)[:2] == (ParkOutcome.FINAL, mark)
    assert bench.store.celery.message_finished("fox", mark) == "finished"
    assert bench.store.jobs.get("fox").owed == before
    assert (bench.alarm("fox") is None) == (alarm is None)
    assert bench.store.celery.park("fox", "late", '{"chord":1}')[:2] == (ParkOutcome.FINISHED, mark)
    assert audit(bench.store) == []


def test_a_worker_that_delivers_an_end_does_not_hide_a_later_message(bench: Bench) -> None:
    bench.put(S.COMPLETED, owed="c")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.celery.get_parked("fox") == []
    bench.store.deliveries.record(due, Delivery.CELERY)
    bench.store.celery.park("fox", "late", '{"chord":1}')
    assert bench.store.deliveries.record(due, Delivery.CELERY) == "refused"
    assert bench.store.jobs.get("fox").owed == {Delivery.CELERY}


def test_a_late_message_does_not_repeat_a_notification_under_way(bench: Bench) -> None:
    bench.put(S.COMPLETED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    mark = bench.store.celery.park("fox", "late", '{"chord":1}')[1]
    # The worker that notifies the producer records it
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "owed"
    assert bench.store.jobs.get("fox").owed == {Delivery.CELERY}
    assert bench.alarm("fox") is not None
    # A worker that was to finish this message does not hide a later one
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.celery.message_finished("fox", mark) == "finished"
    bench.store.celery.park("fox", "later", '{"chord":2}')
    assert bench.store.deliveries.record(due, Delivery.CELERY) == "refused"
    assert bench.store.jobs.get("fox").owed == {Delivery.CELERY}


def test_each_message_counts_how_often_its_end_was_begun(bench: Bench) -> None:
    bench.job(owed="n")
    one, two = (bench.store.celery.park("fox", name, f'"{name}"')[1] for name in ("one", "two"))
    end(bench)
    # Notifications that fail do not count
    for _ in range(3):
        (due,) = bench.store.deliveries.claim(["fox"])
        bench.store.deliveries.record(due, Delivery.NOTIFY, retry_in=1.0, why="503")
    for begun in range(3):
        assert bench.store.celery.park("fox", "one", "{}", one) == (ParkOutcome.FINAL, one, begun)
        assert bench.store.celery.park("fox", "one", "{}", one)[0] is ParkOutcome.OWED
        bench.forward(FINISHING + 1)
    assert bench.store.celery.park("fox", "two", "{}", two) == (ParkOutcome.FINAL, two, 0)
    assert bench.store.celery.message_finished("fox", two) == "owed"
    assert bench.store.celery.message_finished("fox", one) == "finished"
    assert bench.store.celery.get_parked("fox") == []


def test_more_messages_after_the_end_than_are_kept_are_finished_all_the_same(bench: Bench) -> None:
    bench.put(S.COMPLETED)
    answers = [
        bench.store.celery.park("fox", f"task-{number}", f'{{"a":{number}}}') for number in range(MOST_PARKED + 1)
    ]
    assert {outcome for outcome, *_ in answers} == {ParkOutcome.FINAL}
    # The record owes no more than so many
    assert [mark for _, mark, _ in answers].count("") == 1


def test_the_number_of_messages_for_one_job_is_limited(bench: Bench) -> None:
    bench.job()
    outcomes = [bench.store.celery.park("fox", f"task-{number}", "{}")[0] for number in range(MOST_PARKED + 1)]
    assert outcomes == [ParkOutcome.PARKED] * MOST_PARKED + [ParkOutcome.FULL]
    assert bench.store.celery.park("fox", "task-0", "{}")[0] is ParkOutcome.PARKED


def test_after_a_retry_the_messages_are_finished_again(bench: Bench) -> None:
    bench.job()
    _, mark, _ = bench.store.celery.park("fox", "fox", "{}")
    end(bench)
    bench.store.celery.message_finished("fox", mark)
    bench.store.jobs.retry("fox")
    # The message that finished it comes again, late: the job has not ended
    assert bench.store.celery.park("fox", "fox", '{"parent_id":1}', mark)[:2] == (ParkOutcome.PARKED, mark)
    assert bench.store.celery.message_finished("fox", mark) == "unfinished"
    end(bench)
    assert [message.mark for message in bench.store.celery.get_parked("fox")] == [mark]


# --- refused messages -------------------------------------------------------------------------------------------------


def test_a_refused_message_is_ended_once(bench: Bench) -> None:
    celery = bench.store.celery
    for begun in range(3):
        assert [celery.begin_refusal("mark") for _ in range(2)] == [
            (RefusalOutcome.FIRST, begun),
            (RefusalOutcome.BUSY, 0),
        ]
        # The worker that began died
        bench.forward(FINISHING + 1)
    celery.end_refusal("mark")
    assert celery.begin_refusal("mark") == (RefusalOutcome.AGAIN, 0)
    assert celery.begin_refusal("another") == (RefusalOutcome.FIRST, 0)
    celery.end_refusal("another")
    assert bench.raw.keys(bench.keys.member("refusals", "*")) == []


def test_the_attempts_of_a_message_that_is_never_ended_are_forgotten(bench: Bench) -> None:
    bench.store.celery.begin_refusal("mark")
    assert 0 < bench.raw.ttl(bench.keys.member("refusals", "mark")) <= REVOKE_KEPT


def test_refused_messages_are_remembered_for_a_limited_time_and_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.store.celery_messages.MOST_REVOKED", 3)
    for mark in "abcde":
        bench.store.celery.begin_refusal(mark)
        bench.store.celery.end_refusal(mark)
        bench.forward(1)
    assert bench.raw.zrange(bench.keys.singleton("refused"), 0, -1) == ["c", "d", "e"]
    bench.forward(REVOKE_KEPT)
    bench.store.celery.begin_refusal("f")
    bench.store.celery.end_refusal("f")
    assert bench.raw.zrange(bench.keys.singleton("refused"), 0, -1) == ["f"]


def test_a_message_may_be_finished_before_its_sender_records_the_sending(bench: Bench) -> None:
    bench.job(owed="n")
    _, mark, _ = bench.store.celery.park("fox", "fox", "{}")
    end(bench)
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.celery.message_finished("fox", mark) == "finished"  # before its sender could record the sending
    assert bench.store.deliveries.record(due, Delivery.CELERY, retry_in=30.0) == "owed"
    assert bench.store.jobs.get("fox").delivery_tries == 0
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "clear"
    assert bench.store.deliveries.record(due, Delivery.CELERY, retry_in=30.0) == "refused"
    assert bench.alarm("fox") is None


# --- revokes ----------------------------------------------------------------------------------------------------------


def test_a_revoke_cancels_only_the_jobs_of_its_tasks(bench: Bench) -> None:
    for job_id in ("fox", "owl", "cat"):
        bench.job(job_id)
    bench.store.celery.park("fox", "fox", "{}")
    bench.store.celery.park("owl", "task-of-owl", "{}")
    revoked = bench.store.celery.revoke(["fox", "task-of-owl", "cat", "another-service's"])
    assert (revoked.cancelled, revoked.to_deliver) == (("fox", "owl"), ("fox", "owl"))
    # No Celery task has asked for the cat so far.
    assert revoked.remembered == ("cat", "another-service's")
    assert [bench.store.jobs.get(job_id).state for job_id in ("fox", "owl", "cat")] == [
        S.CANCELLED,
        S.CANCELLED,
        S.QUEUED,
    ]
    again = bench.store.celery.revoke(["fox", "task-of-owl"])
    assert (again.cancelled, again.remembered) == ((), ())


@pytest.mark.parametrize(("owner", "cancelled"), [("", True), (CELERY, True), ("bakery", False)])
@pytest.mark.parametrize("batch", [None, "flock"])
def test_a_revoke_cancels_no_job_of_another_producer(
    batch: str | None, owner: str, cancelled: bool, bench: Bench
) -> None:
    if batch:
        bench.store.jobs.enqueue([new("fox")], batch, BatchOptions(owner=owner))
    else:
        bench.job(owner=owner)
    # Given a message that the version before parked for any job
    bench.raw.hset(bench.keys.member("parked", "fox"), "task-1", "{}")
    bench.raw.set(bench.keys.member("celery", "task-1"), "fox")
    revoked = bench.store.celery.revoke(["task-1"])
    assert revoked.cancelled == (("fox",) if cancelled else ())
    assert revoked.remembered == (() if cancelled else ("task-1",))
    assert bench.store.jobs.get("fox").state is (S.CANCELLED if cancelled else S.QUEUED)


def test_a_message_that_the_version_before_parked_for_another_producers_job_ends_with_an_error(bench: Bench) -> None:
    bench.job(owner="bakery")
    park = bench.store.celery.park
    bench.raw.hset(bench.keys.member("parked", "fox"), mapping={"task-1": '{"a":1}', "task-2": '{"a":2}'})
    bench.raw.hset(bench.keys.member("job", "fox"), Field.OWED_AT_END, "c")
    # The broker delivers the first one again, and a stranger sends its continuation under another id
    assert park("fox", "task-1", '{"a":1}')[0] is ParkOutcome.PARKED
    assert park("fox", "task-3", '{"a":1}')[0] is ParkOutcome.UNKNOWN
    end(bench)
    marks = [message.mark for message in bench.store.celery.get_parked("fox")]
    assert len(marks) == 2
    for mark in marks:
        assert park("fox", "any", "{}", mark) == (ParkOutcome.FOREIGN, mark, 0)
        assert park("fox", "any", "{}", mark)[0] is ParkOutcome.OWED
        bench.store.celery.message_finished("fox", mark)
        # A repeat does not find the result
        assert park("fox", "any", "{}", mark)[0] is ParkOutcome.UNKNOWN
    assert park("fox", "task-1", '{"a":1}')[0] is ParkOutcome.UNKNOWN
    assert bench.store.jobs.get("fox").owed == frozenset()


def test_a_revoke_is_remembered_for_a_later_message(bench: Bench) -> None:
    bench.store.celery.revoke(["fox", "task-of-owl"])
    assert bench.store.celery.was_revoked("fox")
    assert not bench.store.celery.was_revoked("owl")
    # The worker was parking the message meanwhile
    for job_id, task_id in (("fox", "fox"), ("owl", "task-of-owl")):
        bench.job(job_id)
        assert bench.store.celery.park(job_id, task_id, "{}")[0] is ParkOutcome.REVOKED
        assert bench.store.celery.revoke([task_id]).cancelled == (job_id,)


def test_an_ended_job_is_not_revoked(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.celery.park("fox", "fox", "{}")
    bench.store.attempts.finish("fox", S.COMPLETED, Result(), "submit", fence=claim.fence)
    revoked = bench.store.celery.revoke(["fox"])
    assert (revoked.cancelled, revoked.remembered) == ((), ())
    assert bench.store.jobs.get("fox").state is S.COMPLETED


def test_revokes_are_remembered_for_a_limited_time_and_number(bench: Bench, monkeypatch: Any) -> None:
    bench.store.celery.revoke(["fox"])
    bench.forward(REVOKE_KEPT + 1)
    monkeypatch.setattr("jobs.store.celery_messages.MOST_REVOKED", 3)
    bench.store.celery.revoke(["a", "b"])
    assert not bench.store.celery.was_revoked("fox")
    bench.forward(1)
    bench.store.celery.revoke(["c", "d"])
    assert bench.raw.zcard(bench.keys.singleton("revoked")) == 3
    assert bench.store.celery.was_revoked("d")


@pytest.mark.parametrize("task_id", ["fox", "another"])
def test_a_purge_removes_the_messages_of_the_job(task_id: str, bench: Bench) -> None:
    bench.job()
    _, mark, _ = bench.store.celery.park("fox", task_id, "{}")
    end(bench)
    bench.store.celery.message_finished("fox", mark)
    bench.forward(bench.store.context.settings.retention + 1)
    assert bench.store.jobs.purge() == (1, 0)
    assert bench.raw.keys("{b}:k*") == []
