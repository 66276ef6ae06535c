"""The outcome of a run of the whole stack, and whether it kept the promise by the simulator's ledger."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from boomerang_client import Client, Job
from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.producer_ids import given_id
from jobs.settings import Settings
from jobs.store.store import Store
from ops.local.stack import LocalStack
from tests.support.producers import LOCAL, own
from tests.support.waiting import WaitFor

PROMPTS = Path(__file__).parents[2] / "ops" / "assets" / "parti-prompts.jsonl"
#: Short delays, so that a thousand jobs recover from all faults within a minute. Their order is as in the defaults.
SETTINGS = {
    "BOOMERANG_POLL_FIRST": "1",
    "BOOMERANG_POLL_MAX": "3",
    "BOOMERANG_CONNECT_TIMEOUT": "1",
    "BOOMERANG_READ_TIMEOUT": "3",
    "BOOMERANG_SUBMIT_LEASE": "9",
    "BOOMERANG_LOOKUP_GRACE": "5",
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a batch by the service's records and the provider's ledger. `spent` is the cost in our records."""

    batch: str
    jobs: list[Job]
    purchases: list[dict[str, Any]]
    fired: dict[str, int]
    spent: Decimal
    findings: list[Any]
    restarts: int


def requests_of(count: int) -> Iterator[dict[str, Any]]:
    """Generate `count` requests with real prompts, for one to three images each."""
    prompts = [json.loads(line)["prompt"] for line in PROMPTS.read_text("utf-8").splitlines()]
    for number, prompt in zip(range(count), itertools.cycle(prompts), strict=False):
        yield {"model": "kirin_image_omni", "prompt": prompt, "n": 1 + number % 3}


@contextmanager
def opened(stack: LocalStack) -> Iterator[Store]:
    """Open the store of a running stack directly, bypassing any proxies."""
    client = connect(stack.redis_url)
    try:
        yield Store(client, Settings())
    finally:
        client.close()


def outcome_of(stack: LocalStack, store: Store, client: Client, batch: str, wait_for: WaitFor) -> Outcome:
    """Return the outcome of a finished batch, once no late results are awaited."""
    # A late result belongs to a job that has ended. None is outstanding when no slot is in use.
    wait_for(lambda: store.lanes.get().slots == 0, timeout=60, message="every slot comes back")
    findings, spent = audit(store), store.batches.get(own(batch, LOCAL)).cost
    provider = stack.plan.url("simulator")
    ledger = requests.get(f"{provider}/_sim/ledger", timeout=30).json()
    fired = requests.get(f"{provider}/_sim/stats", timeout=30).json()["fired"]
    return Outcome(
        batch=batch,
        jobs=list(client.results(batch)),
        purchases=[
            {**each, "external_task_id": given_id(each["external_task_id"])}
            for each in ledger["purchases"]
            # Another producer may use the same ids.
            if re.fullmatch(rf"{re.escape(batch)}\.\d+@{LOCAL}(~\d+)?", each["external_task_id"])
        ],
        fired=fired,
        spent=spent,
        findings=findings,
        restarts=stack.restarts,
    )


def promise_is_kept(outcome: Outcome, count: int) -> None:
    """Check that none of `count` jobs is lost or was bought twice, and that our costs equal the provider's."""
    jobs = {job.id: job for job in outcome.jobs}
    # nothing is lost: every accepted job has ended, in input order, with images or with a reason
    assert [job.id for job in outcome.jobs] == [f"{outcome.batch}.{number}" for number in range(1, count + 1)]
    assert {job.status for job in outcome.jobs} <= {"completed", "failed"}
    assert all(job.output if job.status == "completed" else job.error for job in outcome.jobs)
    # nothing is bought twice: one task for each attempt, and one that cost money for each job
    tasks = Counter(purchase["external_task_id"] for purchase in outcome.purchases)
    assert {name: count for name, count in tasks.items() if count > 1} == {}
    paid = Counter(each["external_task_id"].partition("~")[0] for each in outcome.purchases if each["billed"])
    assert {name: count for name, count in paid.items() if count > 1} == {}
    assert {name.partition("~")[0] for name in tasks} <= set(jobs)
    # our costs equal the provider's
    billed = [Decimal(purchase["cost"]) for purchase in outcome.purchases if purchase["billed"]]
    assert outcome.spent == sum(billed)
    assert len(billed) == sum(job.status == "completed" for job in outcome.jobs)
    # no job has another job's images
    task_of = {purchase["external_task_id"]: purchase["task_id"] for purchase in outcome.purchases}
    mixed = [
        job.id
        for job in outcome.jobs
        if any(task_of[_attempt_of(job)] not in (output.source_url or output.url) for output in job.output)
    ]
    assert mixed == []
    assert outcome.findings == []


def _attempt_of(job: Job) -> str:
    """Return the id of a job's last attempt at the provider, without the producer's name."""
    return given_id(job.provider_external_id or job.external_task_id or job.id)
