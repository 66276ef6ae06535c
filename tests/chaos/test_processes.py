"""Faults of workers, beat and producers: afterwards work continues, nothing is lost, nothing is bought twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.states import State
from tests.chaos.harness import Chaos
from tests.support.verdict import requests_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

JOBS = 60
SHARES = (0.1, 0.4, 0.7)
#: The log line of a worker whose result is refused.
STALE = "its task id is not recorded"


def test_a_worker_suspended_beyond_its_lease_changes_nothing(running: Chaos) -> None:
    """It resumes with answers for jobs that another worker has settled."""
    batch = "asleep"
    # Answers are slow, so that the worker is suspended between request and answer. No callbacks: they would also cause
    # a refusal.
    running.turn(slow=2, drop_callbacks=1)
    jobs, met = JOBS // 3, running.fired("slow")
    running.enqueue(jobs, batch)
    # Wait until the provider has the requests: a job that is only claimed would not be sent after the suspension.
    running.wait_for(lambda: running.fired("slow") >= met + 5, message="submissions are under way")
    before = running.count_in_log("worker", STALE)
    with running.stopped("worker"), running.another("worker"):
        running.wait_for(lambda: running.ended(batch) == jobs, timeout=120, message="the other worker does it all")
    running.wait_for(
        lambda: running.count_in_log("worker", STALE) > before, timeout=20, message="a stale answer is refused"
    )
    running.promise_is_kept(jobs, batch)


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGQUIT, marks=pytest.mark.chaos)])
def test_restarts_of_workers_lose_no_job(running: Chaos, how: signal.Signals) -> None:
    """As in a rolling deployment. SIGQUIT stops without waiting."""
    batch, before = f"rolled-{how.name}", running.stack.restarts
    running.enqueue(JOBS, batch)
    for share in SHARES:
        running.until_ended(int(JOBS * share), batch)
        running.kill("worker", how)
    running.promise_is_kept(JOBS, batch)
    assert running.stack.restarts >= before + len(SHARES)


@pytest.mark.chaos
def test_two_beats_cause_no_work_twice(running: Chaos) -> None:
    batch, sending = "two-beats", "Sending due task"
    running.turn(drop_callbacks=0.5)
    with running.another("beat") as read_log:
        before = running.count_in_log("beat", sending)
        running.wait_for(lambda: sending in read_log(), timeout=30, message="the second beat beats")
        running.enqueue(JOBS, batch)
        running.promise_is_kept(JOBS, batch)
        assert running.count_in_log("beat", sending) > before


@pytest.mark.chaos
def test_jobs_wait_while_beat_is_suspended_and_continue_afterwards(running: Chaos) -> None:
    batch = "no-beat"
    running.turn(drop_callbacks=1)
    with running.stopped("beat"):
        running.enqueue(JOBS, batch)
        # Submissions need no beat. Without callbacks, nothing else happens; wait longer than any lease or poll.
        running.wait_for(lambda: running.states(batch)[State.IN_PROGRESS] >= 5, message="some are bought")
        running.wait_for(lambda: _since_round(running) > 15, timeout=30, message="no round for long")
        assert running.ended(batch) == 0
    running.promise_is_kept(JOBS, batch)


def _since_round(running: Chaos) -> float:
    """Return the seconds since the last round of reconcile began, by Redis's clock."""
    seconds, micros = running.state.time()
    (began,) = running.state.hmget("{b}:totals", "round")
    return float(seconds + micros / 1e6 - int(str(began)) / 1e6)


PRODUCER = """
import json, os, sys, time
from boomerang_client import Client

batch, waits = sys.argv[1], sys.argv[2] == "waits"

def lines():
    for number, line in enumerate(sys.stdin, 1):
        yield json.loads(line)
        if waits and number == 25:
            time.sleep(2.5)  # the client sends a part that is old enough when the next line comes
        if waits and number == 40:
            print("in the middle", flush=True)
            time.sleep(600)

with Client() as client:
    done = client.enqueue_batch(lines(), batch)
    print(json.dumps([done.accepted, done.known, done.rejected]))
"""


def test_a_batch_of_a_killed_producer_can_be_sent_again(running: Chaos) -> None:
    batch = "broken-off"
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": running.environments["worker"]["PYTHONPATH"],
        "BOOMERANG_URL": running.stack.url,
        "BOOMERANG_KEY": running.stack.key,
    }
    text = "".join(f"{json.dumps(line)}\n" for line in requests_of(JOBS))
    command = [sys.executable, "-c", PRODUCER, batch]
    with subprocess.Popen([*command, "waits"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdin
        assert killed.stdout
        killed.stdin.write(text.encode())
        killed.stdin.close()
        assert killed.stdout.readline().strip() == b"in the middle"
        killed.kill()
    begun = sum(running.states(batch).values())
    assert 0 < begun < JOBS
    again = subprocess.run(
        [*command, "runs through"], env=env, input=text, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(again.stdout) == [JOBS - begun, begun, 0]
    running.promise_is_kept(JOBS, batch)


@pytest.fixture
def clock(running: Chaos) -> Iterator[Path]:
    """A file with the number of seconds that the worker's clock is ahead."""
    path = Path(running.environments["worker"]["CHAOS_CLOCK"])
    yield path
    path.write_text("0")
    path.with_suffix(".used").unlink(missing_ok=True)


@pytest.mark.parametrize("hours", [1, pytest.param(-1, marks=pytest.mark.chaos)])
def test_a_jump_of_a_workers_clock_changes_nothing(running: Chaos, clock: Path, hours: int) -> None:
    """Leases and alarms use Redis's clock, so nothing is early and nothing waits for an hour."""
    batch = f"clock{hours}"
    # Half of the results come by polls, and jobs in doubt are looked up: both depend on time.
    running.turn(drop_callbacks=0.5, lost_answers=0.2)
    running.enqueue(JOBS, batch)
    running.until_ended(JOBS // 10, batch)
    clock.write_text(str(hours * 3600))
    running.promise_is_kept(JOBS, batch)
    assert clock.with_suffix(".used").exists()
    assert running.fired("lost_answers") > 0
