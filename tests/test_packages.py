"""What two packages must agree on that may not import each other."""

from jobs import key_limits
from jobs.job import Priority
from jobs.read_models import Progress
from jobs.states import State
from jobs.task_names import DELIVER, GENERATE, RECONCILE, SUBMIT
from schemas.queries import BATCH_STATES, MOST_WEIGHT
from schemas.requests.base import PRIORITIES
from schemas.states import JOB_STATES
from worker.app import create_app
from worker.settings import Settings


def test_the_api_shows_the_states_that_jobs_have() -> None:
    assert tuple(State) == JOB_STATES


def test_the_api_shows_what_batches_and_jobs_may_be() -> None:
    assert tuple(Progress) == BATCH_STATES
    assert tuple(Priority) == PRIORITIES
    assert key_limits.MOST_WEIGHT == MOST_WEIGHT


def test_the_worker_has_the_tasks_that_are_sent_to() -> None:
    assert {GENERATE, SUBMIT, RECONCILE, DELIVER} <= set(create_app(Settings()).tasks)
