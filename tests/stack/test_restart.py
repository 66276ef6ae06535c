"""The whole local stack with the users of production, on every installed current Redis: storm, kill, restart."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from boomerang_client import Client, Job
from jobs.errors import StoreUnavailable
from ops.local.stack import LocalStack, Options
from tests.support.killing import killing
from tests.support.producers import LOCAL, own
from tests.support.real_redis import binaries, numbers, on_path
from tests.support.verdict import SETTINGS, opened, outcome_of, promise_is_kept, requests_of
from tests.support.waiting import WaitFor

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]
JOBS = 120
#: This and later versions load the append-only file as the default user.
SINCE = (7, 0)
VERSIONS = [version for version in binaries() if numbers(version) >= SINCE]
NEWEST = max(VERSIONS, key=numbers, default="")


def denials(url: str) -> list[dict[str, Any]]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        entries: Any = client.acl_log()
    return list(entries)


def lasting(jobs: Iterable[Job]) -> list[tuple[object, ...]]:
    """Return what stays as it was while the results are saved."""
    return [
        (job.id, job.status, job.error, job.cost, job.attempt, job.settled_by, [each.source_url for each in job.output])
        for job in jobs
    ]


def test_a_current_redis_is_installed() -> None:
    if not VERSIONS:
        pytest.skip("There is no Redis 7 or later: apt-get install redis-tools, or name one in BOOMERANG_TEST_REDIS.")


#: The newest one each time, the others by `make chaos`: tests/jobs/store/test_restart.py restarts all of them.
@pytest.mark.parametrize(
    "version", [pytest.param(each, marks=[pytest.mark.chaos] if each != NEWEST else []) for each in VERSIONS]
)
def test_a_storm_with_kills_and_restarts_breaks_no_promise(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    monkeypatch.setenv("PATH", on_path(tmp_path / "bin", version))
    monkeypatch.setenv("BOOMERANG_REDIS_SERVER", str(tmp_path / "bin" / "redis-server"))
    options = Options(
        folder=tmp_path / "stack",
        flower=False,
        simulator="--storm --plain-images --seed 11",
        settings=SETTINGS,
        warnings=False,
    )
    ids = [own(f"storm.{number}", LOCAL) for number in range(1, JOBS + 1)]
    with LocalStack(options, lambda *_: None) as stack, Client(stack.url, stack.key) as client, opened(stack) as store:

        def all_there() -> bool:
            # Redis answers nothing while it starts.
            with suppress(StoreUnavailable):
                return [job.id for job in store.jobs.get_many(ids) if job] == ids
            return False

        def ended() -> int:
            return sum(job.state.final for job in store.jobs.get_many(ids) if job)

        def end(*names: str, how: signal.Signals) -> None:
            before = stack.restarts
            for name in names:
                os.kill(stack.pids()[name], how)
            wait_for(lambda: stack.restarts >= before + len(names), 60, f"{names} are started again")
            wait_for(all_there, 60, "every job is there")

        info = store.context.client.info("server")
        assert version in (info["redis_version"], info.get("valkey_version"))
        accepted = client.enqueue_batch(list(requests_of(JOBS)), id="storm")
        assert (accepted.accepted, accepted.rejected) == (JOBS, 0)
        # As `docker compose restart redis broker` ends them, and as a crash does.
        for how in (signal.SIGTERM, signal.SIGKILL):
            count = ended()
            end("redis", "broker", how=how)
            wait_for(lambda: ended() > count, 120, "work goes on")  # noqa: B023 - called here only
        victims, before = ("redis", "worker", "broker"), stack.restarts
        with killing(stack, victims, every=4.0, times=len(victims)):
            wait_for(lambda: stack.restarts >= before + len(victims), 120, "all were killed and came back")
        wait_for(all_there, 60, "every job is there")
        wait_for(lambda: store.batches.get(own("storm", LOCAL)).done, 240, "every accepted job ends")
        outcome = outcome_of(stack, store, client, "storm", wait_for)
        denied = [*denials(stack.state_urls["operator"]), *denials(stack.broker_urls["operator"])]
    promise_is_kept(outcome, JOBS)
    assert denied == []
    logs = [(tmp_path / "stack" / "logs" / f"{name}.log").read_text("utf-8", "replace") for name in ("redis", "broker")]
    assert all("eady to accept connections" in log and "CRITICAL" not in log for log in logs)
    with LocalStack(options, lambda *_: None) as stack, Client(stack.url, stack.key) as client:
        assert lasting(client.results("storm")) == lasting(outcome.jobs)
