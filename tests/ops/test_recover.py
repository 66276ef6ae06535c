from typing import Any

import pytest
from click.testing import CliRunner

from jobs.order import NewJob
from jobs.states import State
from jobs.store import Store
from ops.cli import main


def run(url: str, *options: str) -> Any:
    return CliRunner().invoke(main, ["recover", *options], env={"BOOMERANG_REDIS_URL": url})


def test_what_waits_is_looked_up_before_it_is_sent(store: Store, redis_url: str) -> None:
    store.enqueue([NewJob(id="fox", text="{}", model="m")])
    answer = run(redis_url)
    assert answer.exit_code == 0
    assert "Epoch 1" in answer.output
    store.admit(1)
    assert store.claim(["fox"]) == []
    assert store.get("fox").state is State.IN_DOUBT


def test_jobs_that_are_enqueued_again_too(store: Store, redis_url: str) -> None:
    assert run(redis_url, "--also-new", "24").exit_code == 0
    store.enqueue([NewJob(id="fox", text="{}", model="m")])
    store.admit(1)
    assert store.claim(["fox"]) == []


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://x"], ids=["away", "wrong"])
def test_where_it_cannot_be_done_it_says_so(url: str) -> None:
    assert run(url).exit_code == 2
