"""The promise on the real stack: many jobs under all faults of the simulator. The ledger is the judge.

Each run has two of these storms with hundreds of jobs. `make chaos` has all of them, with a thousand.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from boomerang_client import Client
from jobs.errors import StoreUnavailable
from jobs.store.store import Store
from ops.local.stack import LocalStack, Options
from tests.support.killing import killing
from tests.support.producers import LOCAL, own
from tests.support.verdict import SETTINGS, Outcome, opened, outcome_of, promise_is_kept, requests_of
from tests.support.waiting import WaitFor

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]

#: With fewer, a rare fault may not fire.
JOBS, FEW = 1000, 400


@contextmanager
def nothing() -> Iterator[None]:
    yield


def run(folder: Path, wait_for: WaitFor, simulator: str, jobs: int = JOBS, kill: tuple[str, ...] = ()) -> Outcome:
    options = Options(folder=folder, flower=False, simulator=simulator, settings=SETTINGS, warnings=False)
    with LocalStack(options, lambda *_: None) as stack, Client(stack.url, stack.key) as client:
        # Upload before the kills, because a producer whose upload broke would have to repeat it.
        accepted = client.enqueue_batch(list(requests_of(jobs)), id="storm")
        assert (accepted.accepted, accepted.rejected) == (jobs, 0)
        with opened(stack) as store:
            # Not for ever: on a busy machine a process takes longer to start than the next kill leaves it.
            with killing(stack, kill, every=3.0, times=6) if kill else nothing():
                wait_for(partial(is_done, store), timeout=300, message="every accepted job ends")
            return outcome_of(stack, store, client, "storm", wait_for)


def is_done(store: Store) -> bool:
    # A busy machine may take longer to answer than this client waits.
    with suppress(StoreUnavailable):
        return store.batches.get(own("storm", LOCAL)).done
    return False


def hit(outcome: Outcome, *faults: str) -> None:
    """Check that the faults fired: without them the test proves nothing."""
    assert [fault for fault in faults if not outcome.fired.get(fault)] == []


ALWAYS = ("lost_answers", "error_after", "error_before", "ghost", "throttle", "no_id", "fail", "lookup_lag", "html")
CALLBACKS = ("drop_callbacks", "repeat_callbacks", "early_callbacks", "reorder_callbacks", "forge_callbacks")
RARE = ("wrong_id", "status_down", "succeed_then_fail")


@pytest.mark.chaos
def test_all_faults_at_once_break_no_promise(tmp_path: Path, wait_for: WaitFor) -> None:
    outcome = run(tmp_path, wait_for, "--storm --plain-images --seed 7")
    promise_is_kept(outcome, JOBS)
    hit(outcome, *ALWAYS, *CALLBACKS, *RARE)
    assert {job.settled_by for job in outcome.jobs} >= {"callback", "poll"}


def test_all_faults_without_callbacks_break_no_promise(tmp_path: Path, wait_for: WaitFor) -> None:
    outcome = run(tmp_path, wait_for, "--storm --plain-images --seed 8 --drop-callbacks 1", FEW)
    promise_is_kept(outcome, FEW)
    hit(outcome, *ALWAYS)
    # The simulator still sends early callbacks; all others are dropped.
    assert Counter(job.settled_by for job in outcome.jobs)["poll"] > FEW * 0.9


def test_all_faults_and_killed_processes_break_no_promise(tmp_path: Path, wait_for: WaitFor) -> None:
    outcome = run(tmp_path, wait_for, "--storm --plain-images --seed 9", FEW, kill=("worker", "webhook"))
    promise_is_kept(outcome, FEW)
    hit(outcome, *ALWAYS, *CALLBACKS)
    assert {job.settled_by for job in outcome.jobs} >= {"callback", "poll"}
    assert outcome.restarts >= 4


@pytest.mark.chaos  # tests/chaos/test_network.py loses answers and callbacks in every run
def test_undetected_duplicates_and_lagging_look_ups_break_no_promise(tmp_path: Path, wait_for: WaitFor) -> None:
    outcome = run(tmp_path, wait_for, "--storm --plain-images --seed 10 --duplicates unnoticed --lookup-lag 3")
    promise_is_kept(outcome, JOBS)
    hit(outcome, *ALWAYS, *CALLBACKS)
