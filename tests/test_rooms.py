"""What two rooms that may not import each other must agree on."""

from jobs.states import State
from schemas.states import JOB_STATES
from webhook import messages as hints
from worker import messages


def test_the_api_shows_the_states_that_jobs_have() -> None:
    assert tuple(State) == JOB_STATES


def test_the_webhook_sends_to_tasks_that_the_worker_has() -> None:
    assert (hints.SUBMIT, hints.RECONCILE, hints.DELIVER) == (messages.SUBMIT, messages.RECONCILE, messages.DELIVER)
