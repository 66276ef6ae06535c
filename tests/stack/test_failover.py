"""A failover of Redis during a run: nothing that survived is lost, and nothing is bought twice."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from celery import Celery

from boomerang_client import Client
from jobs.errors import BatchNotFound
from jobs.store.store import Store
from ops.local.stack import LocalStack, Options
from tests.support.producers import LOCAL, own
from tests.support.sentinels import MASTER, PASSWORD, SENTINEL_PASSWORD, Watched, watched
from tests.support.verdict import SETTINGS, opened, outcome_of, promise_is_kept, requests_of
from tests.support.waiting import WaitFor

pytestmark = [pytest.mark.stack, pytest.mark.timeout(360)]

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "celery.md").read_text("utf-8")
REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}
JOBS = 60
#: Few slots, so that the submissions of a batch last beyond the failover.
SLOTS = {"BOOMERANG_MAX_IN_FLIGHT": "60"}
#: Jobs that the lagging replica lacks are lost. Their producer enqueues them again.
LAG = {"BOOMERANG_TOLERATED_LOSS": "300"}


class Running:
    """A stack whose jobs and messages are behind the same sentinels."""

    def __init__(self, servers: Watched, stack: LocalStack, store: Store, client: Client, wait_for: WaitFor) -> None:
        self.servers, self.stack, self.store, self.client = servers, stack, store, client
        self.wait_for = wait_for

    def enqueue(self, batch: str, count: int = JOBS) -> None:
        """Enqueue a batch under the same ids until all jobs are accepted, as a producer does."""

        def taken() -> bool:
            try:
                result = self.client.enqueue_batch(list(requests_of(count)), id=batch)
            except Exception:  # noqa: BLE001 - while there is no primary
                return False
            return result.accepted + result.known == count

        self.wait_for(taken, 60, "the jobs are accepted")

    def ended(self, batch: str) -> int:
        counts = self.store.batches.get(own(batch, LOCAL)).counts
        return sum(number for state, number in counts.items() if state.final)

    def bought(self) -> int:
        provider = self.stack.plan.url("simulator")
        return int(requests.get(f"{provider}/_sim/ledger?purchases=0", timeout=30).json()["totals"]["tasks"])

    def fail_over(self) -> None:
        """Kill the primary by SIGKILL. After the failover, start it as a replica."""
        was = self.servers.kill_primary()
        self.servers.until_another(was)
        self.servers.start(was, follows=self.servers.primary())

    def switch_over(self) -> None:
        """Make a planned failover. The old primary keeps running."""
        was = self.servers.primary()
        assert self.servers.ask(self.servers.sentinels[0], "SENTINEL FAILOVER", MASTER)
        self.servers.until_another(was)

    def producer(self) -> Celery:
        """Return the app of docs/guides/celery.md for sentinels."""
        (text,) = re.findall(r'```python\n(url = "sentinel.*?)```', PAGE, re.DOTALL)
        ports = self.servers.sentinels
        for name, real in (("host1:26379", f"127.0.0.1:{ports[0]}"), ("host2:26379", f"127.0.0.1:{ports[1]}")):
            text = text.replace(name, real)
        text = text.replace(":pw@", f":{PASSWORD}@").replace("NAME", MASTER).replace("/0", "/1")
        namespace: dict[str, Any] = {"Celery": partial(Celery, set_as_current=False)}
        exec(text.replace("of the sentinels", SENTINEL_PASSWORD), namespace)
        return cast("Celery", namespace["app"])

    def promise_is_kept(self, batch: str, count: int = JOBS) -> None:
        self.wait_for(lambda: self.done(batch), 150, "every accepted job ends")
        promise_is_kept(outcome_of(self.stack, self.store, self.client, batch, self.wait_for), count)

    def done(self, batch: str) -> bool:
        return self.store.batches.get(own(batch, LOCAL)).done


@contextmanager
def running(folder: Path, wait_for: WaitFor, simulator: str, **settings: str) -> Iterator[Running]:
    with watched(folder / "redis", wait_for) as servers:
        options = Options(
            folder=folder / "stack",
            flower=False,
            simulator=simulator,
            settings={**SETTINGS, **SLOTS, **settings},
            warnings=False,
            redis_url=servers.url(),
            broker_url=servers.url(1),
        )
        with (
            LocalStack(options, lambda *_: None) as stack,
            Client(stack.url, stack.key) as client,
            opened(stack) as store,
        ):
            yield Running(servers, stack, store, client, wait_for)


@pytest.mark.parametrize("how", ["killed", pytest.param("planned", marks=pytest.mark.chaos)])
def test_a_failover_breaks_no_promise(how: str, tmp_path: Path, wait_for: WaitFor) -> None:
    with running(tmp_path, wait_for, "--storm --plain-images --seed 21", **LAG) as run:
        run.enqueue("storm")
        run.wait_for(lambda: run.ended("storm") > JOBS // 5, 60, "some jobs end")
        # A Celery producer waits for its result through the failover.
        fox = run.producer().send_task("boomerang.generate", kwargs=REQUEST, task_id="fox", queue="celery")
        run.wait_for(lambda: run.store.jobs.get_many(["fox"])[0], 20, "its message is taken")
        run.fail_over() if how == "killed" else run.switch_over()
        run.promise_is_kept("storm")
        assert fox.get(120)["id"] == "fox"
        # No process ended when its connections broke.
        assert run.stack.restarts == 0


def test_a_failover_to_a_lagging_replica_causes_no_second_purchase(tmp_path: Path, wait_for: WaitFor) -> None:
    """Purchases, results and acceptances are lost, and the provider accepts repeated ids."""
    with running(tmp_path, wait_for, "--seed 22 --latency 0.5 --duplicates unnoticed --lookup-lag 1", **LAG) as run:
        run.enqueue("kept")
        run.wait_for(lambda: run.ended("kept") > JOBS // 5, 60, "some jobs end")
        (replica,) = set(run.servers.servers) - {run.servers.primary()}
        run.servers.leave_behind(replica)
        before = run.bought()
        run.enqueue("forgotten")
        run.wait_for(lambda: run.bought() > before + 5, 30, "something is bought that the replica will not know of")
        run.wait_for(lambda: run.ended("forgotten") > 0, 30, "also of what it does not know at all")
        run.fail_over()
        with pytest.raises(BatchNotFound):
            run.ended("forgotten")
        run.enqueue("forgotten")
        run.promise_is_kept("kept")
        run.promise_is_kept("forgotten")


def test_writes_that_waited_for_a_replica_survive_a_failover(tmp_path: Path, wait_for: WaitFor) -> None:
    """Then no look-ups are needed after a failover, although the provider accepts repeated ids."""
    settings = {"BOOMERANG_REPLICAS": "1", "BOOMERANG_RECOVERY": "off"}
    simulator = "--seed 23 --latency 0.5 --duplicates unnoticed --lookup-lag 1"
    with running(tmp_path, wait_for, simulator, **settings) as run:
        run.enqueue("early")
        run.wait_for(lambda: run.ended("early") > JOBS // 5, 60, "some jobs end")
        run.enqueue("late")
        run.fail_over()
        run.promise_is_kept("early")
        run.promise_is_kept("late")
