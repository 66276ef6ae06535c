"""Jobs that no worker ever got notify their producer only if the operator vouches for its hosts."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.job import Delivery
from jobs.states import State
from tests.support.bench import Bench

EXPIRED = 20.0


def cancelled(bench: Bench) -> None:
    bench.store.jobs.cancel("fox")


def expired(bench: Bench) -> None:
    bench.forward(EXPIRED)
    bench.store.attempts.claim_due(10)


def swept(bench: Bench) -> None:
    bench.store.batches.cancel("x")
    bench.store.batches.sweep()


@pytest.mark.parametrize("admitted", [False, True])
@pytest.mark.parametrize("end", [cancelled, expired, swept])
@pytest.mark.parametrize("only_begun", [False, True])
def test_the_end_of_a_job_that_never_began(
    bench: Bench, make: Any, end: Callable[[Bench], None], only_begun: bool, admitted: bool
) -> None:
    bench.store.jobs.enqueue([make(owed="n", only_begun=only_begun, expires_in=EXPIRED)], "x")
    if admitted:
        bench.store.attempts.admit(1)
        if end is expired:
            bench.forward(30)
            bench.store.attempts.claim_due(10)
    end(bench)
    job = bench.store.jobs.get("fox")
    assert (job.state.final, job.owed) == (True, set() if only_begun else {Delivery.NOTIFY})
    assert bench.audit() == []


@pytest.mark.parametrize("state", [State.SUBMITTING, State.IN_DOUBT, State.IN_PROGRESS])
def test_the_cancellation_of_a_job_that_began(bench: Bench, state: State) -> None:
    bench.put(state, owed="n", only_begun=True)
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY}


def test_a_job_that_was_put_back_or_is_retried_has_begun(bench: Bench) -> None:
    bench.put(State.SUBMITTING, owed="n", only_begun=True)
    bench.store.attempts.requeue("fox", bench.store.jobs.get("fox").fence, "429")
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY}
    bench.store.jobs.retry("fox")
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY}


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.EXPIRED])
def test_results_are_notified(bench: Bench, state: State) -> None:
    bench.put(state, owed="n", only_begun=True)
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY}


def test_a_celery_message_is_finished_in_any_case(bench: Bench) -> None:
    bench.job(owed="n", only_begun=True)
    bench.store.celery.park("fox", "task-1", "{}")
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.get("fox").owed == {Delivery.CELERY}
