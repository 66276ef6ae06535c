"""Celery messages that wait for the end of a job: kept, told of it once each, revoked before it."""

from typing import Any

import pytest

from jobs.job import Delivery, Result
from jobs.states import State
from jobs.store.celery_messages import FINISHING, MOST_PARKED, REVOKE_KEPT, Message
from jobs.store.outcomes import ParkOutcome
from tests.support.bench import Bench
from worker.deliver import CONFIRMATION

S = State
DEAD = Result(error={"code": "1301", "message": "safety"})


def ended(bench: Bench) -> None:
    assert bench.store.jobs.cancel("fox").owed


def test_a_message_is_kept_until_the_end_and_told_once(bench: Bench) -> None:
    assert bench.store.celery.park("fox", "fox", "{}")[0] is ParkOutcome.UNKNOWN
    claim = bench.claimed()
    (word, mark), again = (bench.store.celery.park("fox", "fox", '{"chord":1}') for _ in range(2))
    assert (word, again) == (ParkOutcome.PARKED, (word, mark))
    bench.store.attempts.finish("fox", S.FAILED, DEAD, "submit", fence=claim.fence)
    assert bench.store.celery.get_parked("fox") == [Message("fox", mark, '{"chord":1}')]
    # The same message again, and the one that finishes it
    assert bench.store.celery.park("fox", "fox", '{"chord":1}') == (ParkOutcome.OWED, mark)
    assert bench.store.celery.park("fox", "fox", '{"chord":1,"parent_id":2}', mark) == (ParkOutcome.FINAL, mark)
    for _ in range(2):
        assert bench.store.celery.message_finished("fox", mark) == "told"
    assert bench.store.celery.get_parked("fox") == []
    assert bench.store.jobs.get("fox").owing == frozenset()
    assert bench.alarm("fox") is None
    assert bench.store.celery.park("fox", "fox", '{"chord":1}') == (ParkOutcome.TOLD, mark)
    # Another message under the same id is another one
    assert bench.store.celery.park("fox", "fox", '{"chord":2}')[0] is ParkOutcome.FINAL


def test_two_that_finish_the_same_message_do_not_both_do_it(bench: Bench) -> None:
    bench.job()
    _, mark = bench.store.celery.park("fox", "fox", "{}")
    ended(bench)
    words = [bench.store.celery.park("fox", "fox", "{}", mark)[0] for _ in range(2)]
    assert words == [ParkOutcome.FINAL, ParkOutcome.OWED]
    # Whoever had it died: it is still owed, and the next one may
    assert [message.mark for message in bench.store.celery.get_parked("fox")] == [mark]
    bench.forward(FINISHING + 1)
    assert FINISHING < CONFIRMATION
    assert bench.store.celery.park("fox", "fox", "{}", mark)[0] is ParkOutcome.FINAL
    assert bench.store.celery.message_finished("fox", mark) == "told"
    assert bench.store.celery.park("fox", "fox", "{}", mark)[0] is ParkOutcome.TOLD


def test_several_tasks_wait_for_one_job_and_each_is_told(bench: Bench) -> None:
    bench.job()
    marks = {task_id: bench.store.celery.park("fox", task_id, f'"{task_id}"')[1] for task_id in ("fox", "a", "b")}
    assert len(set(marks.values())) == 3
    ended(bench)
    assert {message.task_id: message.mark for message in bench.store.celery.get_parked("fox")} == marks
    assert [bench.store.celery.message_finished("fox", mark) for mark in marks.values()] == ["owed", "owed", "told"]


def test_a_later_message_of_the_same_task_replaces_the_earlier_one(bench: Bench) -> None:
    bench.job()
    bench.store.celery.park("fox", "fox", '{"chord":1}')
    bench.store.celery.park("fox", "fox", '{"chord":2}')
    ended(bench)
    assert [message.continuation for message in bench.store.celery.get_parked("fox")] == ['{"chord":2}']


def test_no_more_than_so_many_wait_for_one_job(bench: Bench) -> None:
    bench.job()
    words = [bench.store.celery.park("fox", f"task-{number}", "{}")[0] for number in range(MOST_PARKED + 1)]
    assert words == [ParkOutcome.PARKED] * MOST_PARKED + [ParkOutcome.FULL]
    assert bench.store.celery.park("fox", "task-0", "{}")[0] is ParkOutcome.PARKED


def test_a_retry_by_hand_lets_its_messages_be_told_anew(bench: Bench) -> None:
    bench.job()
    _, mark = bench.store.celery.park("fox", "fox", "{}")
    ended(bench)
    bench.store.celery.message_finished("fox", mark)
    bench.store.jobs.retry("fox")
    # What finished it comes late, and again: nothing to finish any more
    assert bench.store.celery.park("fox", "fox", '{"parent_id":1}', mark) == (ParkOutcome.PARKED, mark)
    assert bench.store.celery.message_finished("fox", mark) == "unfinished"
    ended(bench)
    assert [message.mark for message in bench.store.celery.get_parked("fox")] == [mark]


def test_who_sends_them_and_who_acts_upon_them_may_be_in_any_order(bench: Bench) -> None:
    bench.job(owed="n")
    _, mark = bench.store.celery.park("fox", "fox", "{}")
    ended(bench)
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.celery.message_finished("fox", mark) == "told"  # before its sender could say that it is sent
    assert bench.store.deliveries.record(due, Delivery.CELERY, retry_in=30.0) == "owed"
    assert bench.store.jobs.get("fox").delivery_tries == 0
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "clear"
    assert bench.store.deliveries.record(due, Delivery.CELERY, retry_in=30.0) == "refused"
    assert bench.alarm("fox") is None


# --- revoked ----------------------------------------------------------------------------------------------------------


def test_a_revoke_cancels_the_jobs_of_the_tasks_and_no_others(bench: Bench) -> None:
    for job_id in ("fox", "owl", "cat"):
        bench.job(job_id)
    bench.store.celery.park("fox", "fox", "{}")
    bench.store.celery.park("owl", "task-of-owl", "{}")
    revoked = bench.store.celery.revoke(["fox", "task-of-owl", "cat", "another-service's"])
    assert (revoked.cancelled, revoked.owing) == (("fox", "owl"), ("fox", "owl"))
    # Nobody of Celery's has asked for the cat so far.
    assert revoked.remembered == ("cat", "another-service's")
    assert [bench.store.jobs.get(job_id).state for job_id in ("fox", "owl", "cat")] == [
        S.CANCELLED,
        S.CANCELLED,
        S.QUEUED,
    ]
    again = bench.store.celery.revoke(["fox", "task-of-owl"])
    assert (again.cancelled, again.remembered) == ((), ())


def test_a_revoke_that_comes_before_its_message(bench: Bench) -> None:
    bench.store.celery.revoke(["fox", "task-of-owl"])
    assert bench.store.celery.was_revoked("fox")
    assert not bench.store.celery.was_revoked("owl")
    # The message was under way to the record meanwhile
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


def test_revokes_are_forgotten_after_a_while_and_never_too_many_are_kept(bench: Bench, monkeypatch: Any) -> None:
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
def test_nothing_of_it_is_left_when_the_job_is_forgotten(task_id: str, bench: Bench) -> None:
    bench.job()
    _, mark = bench.store.celery.park("fox", task_id, "{}")
    ended(bench)
    bench.store.celery.message_finished("fox", mark)
    bench.forward(bench.store.context.settings.retention + 1)
    assert bench.store.jobs.purge() == (1, 0)
    assert bench.raw.keys("{b}:k*") == []
