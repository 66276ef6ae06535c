"""The promise, on the real stack: every fault of the simulator at once, a thousand jobs; the ledger is the judge."""

import itertools
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from boomerang_client import Client, Job
from jobs.audit import audit
from jobs.settings import Settings
from jobs.store import Store, connect
from ops.stack import LocalStack, Options

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]

JOBS = 1000
PROMPTS = Path(__file__).parents[2] / "ops" / "assets" / "parti-prompts.jsonl"
#: Short waits, so that a thousand jobs recover from everything in a minute; their order is that of the defaults.
SETTINGS = {
    "BOOMERANG_POLL_FIRST": "2",
    "BOOMERANG_POLL_MAX": "5",
    "BOOMERANG_CONNECT_TIMEOUT": "1",
    "BOOMERANG_READ_TIMEOUT": "4",
    "BOOMERANG_SUBMIT_LEASE": "11",
    "BOOMERANG_LOOKUP_GRACE": "7",
}


@dataclass(frozen=True)
class Outcome:
    """What a run left behind: our books, and the provider's."""

    jobs: list[Job]
    purchases: list[dict[str, Any]]
    totals: dict[str, Any]
    fired: dict[str, int]
    spent: Decimal
    findings: list[Any]
    restarts: int


@contextmanager
def nothing() -> Iterator[None]:
    yield


def requests_of(count: int) -> Iterator[dict[str, Any]]:
    prompts = [json.loads(line)["prompt"] for line in PROMPTS.read_text("utf-8").splitlines()]
    for number, prompt in zip(range(count), itertools.cycle(prompts), strict=False):
        yield {"model": "kirin_image_omni", "prompt": prompt, "n": 1 + number % 3}


@contextmanager
def killing(stack: LocalStack, names: tuple[str, ...], every: float) -> Iterator[None]:
    """SIGKILL these processes in turn, until the block ends."""
    over = threading.Event()

    def kill() -> None:
        for name in itertools.cycle(names):
            if over.wait(every):
                return
            if pid := stack.pids().get(name):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(
    folder: Path, wait_for: Callable[..., None], simulator: str, settings: dict[str, str], kill: tuple[str, ...] = ()
) -> Outcome:
    options = Options(
        folder=folder, flower=False, simulator=simulator, settings={**SETTINGS, **settings}, warnings=False
    )
    with LocalStack(options, lambda *_: None) as stack, Client(stack.url, stack.key) as client:
        # The upload comes before the killing: a producer whose upload broke would send it again.
        accepted = client.enqueue_batch(list(requests_of(JOBS)), id="storm")
        assert (accepted.accepted, accepted.rejected) == (JOBS, 0)
        redis_client = connect(stack.redis_url)
        with closing(redis_client):
            store = Store(redis_client, Settings())
            with killing(stack, kill, every=3.0) if kill else nothing():
                wait_for(lambda: store.batch("storm").done, timeout=300, message="every accepted job ends")
            # A late result is one of a job that has ended; none is left where no slot is held.
            wait_for(lambda: store.lane().slots == 0, timeout=60, message="every slot comes back")
            findings, spent = audit(store), store.totals().cost
        provider = stack.plan.url("simulator")
        ledger = requests.get(f"{provider}/_sim/ledger", timeout=30).json()
        fired = requests.get(f"{provider}/_sim/stats", timeout=30).json()["fired"]
        jobs = list(client.results("storm"))
        return Outcome(jobs, ledger["purchases"], ledger["totals"], fired, spent, findings, stack.restarts)


def promise_is_kept(outcome: Outcome) -> None:
    jobs = {job.id: job for job in outcome.jobs}
    # nothing is lost: every accepted job has ended, in input order, with pictures or with a reason
    assert [job.id for job in outcome.jobs] == [f"storm.{number}" for number in range(1, JOBS + 1)]
    assert {job.status for job in outcome.jobs} <= {"completed", "failed"}
    assert all(job.output if job.status == "completed" else job.error for job in outcome.jobs)
    # nothing is bought twice: per attempt one task, per job one that cost money
    tasks = Counter(purchase["external_task_id"] for purchase in outcome.purchases)
    assert {name: count for name, count in tasks.items() if count > 1} == {}
    paid = Counter(each["external_task_id"].partition("~")[0] for each in outcome.purchases if each["billed"])
    assert {name: count for name, count in paid.items() if count > 1} == {}
    assert {name.partition("~")[0] for name in tasks} <= set(jobs)
    # our books are the provider's
    assert outcome.spent == Decimal(outcome.totals["spent"])
    assert outcome.totals["bought"] == sum(job.status == "completed" for job in outcome.jobs)
    # no job has another one's pictures
    task_of = {purchase["external_task_id"]: purchase["task_id"] for purchase in outcome.purchases}
    mixed = [
        job.id for job in outcome.jobs if any(task_of[job.external_task_id] not in output.url for output in job.output)
    ]
    assert mixed == []
    assert outcome.findings == []


def hit(outcome: Outcome, *faults: str) -> None:
    """A storm that was none proves nothing."""
    assert [fault for fault in faults if not outcome.fired.get(fault)] == []


ALWAYS = ("lost_answers", "error_after", "error_before", "ghost", "throttle", "no_id", "fail", "lookup_lag", "html")
CALLBACKS = ("drop_callbacks", "repeat_callbacks", "early_callbacks", "reorder_callbacks", "forge_callbacks")


def test_every_fault_at_once(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    outcome = run(tmp_path, wait_for, "--storm --seed 7", {})
    promise_is_kept(outcome)
    hit(outcome, *ALWAYS, *CALLBACKS, "wrong_id", "status_down", "succeed_then_fail")
    assert {job.settled_by for job in outcome.jobs} >= {"callback", "poll"}


def test_every_fault_at_once_without_callbacks(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    outcome = run(tmp_path, wait_for, "--storm --seed 8 --drop-callbacks 1", {})
    promise_is_kept(outcome)
    hit(outcome, *ALWAYS)
    # What an early callback is, the simulator sends all the same; all others are gone.
    assert Counter(job.settled_by for job in outcome.jobs)["poll"] > JOBS * 0.9


def test_every_fault_at_once_while_worker_and_webhook_are_killed(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    outcome = run(tmp_path, wait_for, "--storm --seed 9", {}, kill=("worker", "webhook"))
    promise_is_kept(outcome)
    hit(outcome, *ALWAYS, *CALLBACKS)
    assert outcome.restarts >= 4


def test_duplicates_that_the_provider_does_not_notice_and_look_ups_that_lag(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    outcome = run(tmp_path, wait_for, "--storm --seed 10 --duplicates unnoticed --lookup-lag 3", {})
    promise_is_kept(outcome)
    hit(outcome, *ALWAYS, *CALLBACKS)
