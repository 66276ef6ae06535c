"""Celery messages are parked until their job ends, finished once each, and revoked before that."""

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


def end(bench: Bench) -> None:
    assert bench.store.jobs.cancel("fox").owed


def test_a_message_is_parked_until_the_end_and_finished_once(bench: Bench) -> None:
    assert bench.store.celery.park("fox", "fox", "{}")[0] is ParkOutcome.UNKNOWN
    claim = bench.claimed()
    (outcome, mark), again = (bench.store.celery.park("fox", "fox", '{"chord":1}') for _ in range(2))
    assert (outcome, again) == (ParkOutcome.PARKED, (outcome, mark))
    bench.store.attempts.finish("fox", S.FAILED, DEAD, "submit", fence=claim.fence)
    assert bench.store.celery.get_parked("fox") == [Message("fox", mark, '{"chord":1}')]
    # The same message again, and then the message that finishes it
    assert bench.store.celery.park("fox", "fox", '{"chord":1}') == (ParkOutcome.OWED, mark)
    assert bench.store.celery.park("fox", "fox", '{"chord":1,"parent_id":2}', mark) == (ParkOutcome.FINAL, mark)
    for _ in range(2):
        assert bench.store.celery.message_finished("fox", mark) == "finished"
    assert bench.store.celery.get_parked("fox") == []
    assert bench.store.jobs.get("fox").owed == frozenset()
    assert bench.alarm("fox") is None
    assert bench.store.celery.park("fox", "fox", '{"chord":1}') == (ParkOutcome.FINISHED, mark)
    # Another message under the same id counts as new
    assert bench.store.celery.park("fox", "fox", '{"chord":2}')[0] is ParkOutcome.FINAL


def test_two_workers_do_not_both_finish_a_message(bench: Bench) -> None:
    bench.job()
    _, mark = bench.store.celery.park("fox", "fox", "{}")
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


def test_a_later_message_of_the_same_task_replaces_the_earlier_one(bench: Bench) -> None:
    bench.job()
    bench.store.celery.park("fox", "fox", '{"chord":1}')
    bench.store.celery.park("fox", "fox", '{"chord":2}')
    end(bench)
    assert [message.continuation for message in bench.store.celery.get_parked("fox")] == ['{"chord":2}']


def test_the_number_of_messages_for_one_job_is_limited(bench: Bench) -> None:
    bench.job()
    outcomes = [bench.store.celery.park("fox", f"task-{number}", "{}")[0] for number in range(MOST_PARKED + 1)]
    assert outcomes == [ParkOutcome.PARKED] * MOST_PARKED + [ParkOutcome.FULL]
    assert bench.store.celery.park("fox", "task-0", "{}")[0] is ParkOutcome.PARKED


def test_after_a_retry_the_messages_are_finished_again(bench: Bench) -> None:
    bench.job()
    _, mark = bench.store.celery.park("fox", "fox", "{}")
    end(bench)
    bench.store.celery.message_finished("fox", mark)
    bench.store.jobs.retry("fox")
    # The message that finished it comes again, late: the job has not ended
    assert bench.store.celery.park("fox", "fox", '{"parent_id":1}', mark) == (ParkOutcome.PARKED, mark)
    assert bench.store.celery.message_finished("fox", mark) == "unfinished"
    end(bench)
    assert [message.mark for message in bench.store.celery.get_parked("fox")] == [mark]


def test_a_message_may_be_finished_before_its_sender_records_the_sending(bench: Bench) -> None:
    bench.job(owed="n")
    _, mark = bench.store.celery.park("fox", "fox", "{}")
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
    _, mark = bench.store.celery.park("fox", task_id, "{}")
    end(bench)
    bench.store.celery.message_finished("fox", mark)
    bench.forward(bench.store.context.settings.retention + 1)
    assert bench.store.jobs.purge() == (1, 0)
    assert bench.raw.keys("{b}:k*") == []
