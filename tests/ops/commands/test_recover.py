from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.connections.client import connect
from jobs.errors import WorkRefused
from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.installation import Sighting
from jobs.store.store import Store
from jobs.store.witness import Witness
from ops.cli import main


def run(url: str, *options: str) -> Any:
    return CliRunner().invoke(main, ["recover", *options], env={"BOOMERANG_REDIS_URL": url})


def test_waiting_jobs_are_looked_up_before_they_are_sent(store: Store, redis_url: str) -> None:
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    answer = run(redis_url)
    assert answer.exit_code == 0
    assert "Epoch 1" in answer.output
    store.attempts.admit(1)
    assert store.attempts.claim(["fox"]) == []
    assert store.jobs.get("fox").state is State.IN_DOUBT


def test_jobs_enqueued_again_are_looked_up_too(store: Store, redis_url: str) -> None:
    assert run(redis_url, "--also-new", "24").exit_code == 0
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    store.attempts.admit(1)
    assert store.attempts.claim(["fox"]) == []


def test_it_shows_the_expected_jobs_and_accepts_those_present(store: Store, redis_url: str) -> None:
    expected = Sighting(installation="e" * 32, epoch=4, accepted=1234, at=1)
    store.context.client.flushdb()
    store.continuity.refuse(store.continuity.standing(), "Redis is empty", expected)
    # A dry run changes nothing.
    for _ in range(2):
        answer = run(redis_url, "--show")
        assert answer.exit_code == 0
        assert all(words in answer.output for words in ("1,234 jobs accepted", "no installation", "Redis is empty"))
    with pytest.raises(WorkRefused):
        store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    assert "Epoch 5" in run(redis_url).output
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    assert store.continuity.standing().installation == expected.installation
    # A second run does no harm.
    answer = run(redis_url)
    assert (answer.exit_code, "No loss is known" in answer.output) == (0, True)
    assert store.jobs.get("fox").state is State.QUEUED


def test_it_reads_the_witness_before_any_worker_does(store: Store, redis_url: str) -> None:
    broker = redis_url.replace("/0", "/1")
    with closing(connect(broker)) as client:
        Witness(client).write(Sighting(installation="e" * 32, epoch=4, accepted=1234, at=1))
    store.context.client.flushdb()
    env = {"BOOMERANG_REDIS_URL": redis_url, "BOOMERANG_BROKER_URL": broker}
    answer = CliRunner().invoke(main, ["recover"], env=env)
    assert all(words in answer.output for words in ("1,234 jobs accepted", "Redis is empty", "Epoch 5"))
    assert store.continuity.standing().installation == "e" * 32


def test_an_unreachable_witness_is_reported_but_does_not_prevent_recovery(store: Store, redis_url: str) -> None:
    env = {"BOOMERANG_REDIS_URL": redis_url, "BOOMERANG_BROKER_URL": "redis://127.0.0.1:1/0"}
    answer = CliRunner().invoke(main, ["recover"], env=env)
    assert (answer.exit_code, "cannot be read" in answer.output) == (0, True)
    assert store.continuity.standing().epoch == 1


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://x"], ids=["away", "wrong"])
def test_a_recovery_that_fails_is_reported(url: str) -> None:
    assert run(url).exit_code == 2
