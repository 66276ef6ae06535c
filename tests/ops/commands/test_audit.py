import json
from typing import Any

import pytest
from click.testing import CliRunner

from jobs.new_job import NewJob
from jobs.store.store import Store
from ops.cli import main


@pytest.fixture
def audited(store: Store, redis_url: str) -> Any:
    """Return `boomerang-server audit`, bound to a store with one job."""
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])

    def run(*options: str, url: str = redis_url) -> Any:
        return CliRunner().invoke(main, ["audit", *options], env={"BOOMERANG_REDIS_URL": url, "COLUMNS": "200"})

    return run


def test_a_store_without_errors_passes(audited: Any) -> None:
    answer = audited()
    assert (answer.exit_code, answer.output) == (0, "Every invariant holds.\n")


def test_an_error_is_reported_with_its_remedy(audited: Any, store: Store) -> None:
    client, keys = store.context.client, store.context.keys
    client.zrem(keys.singleton("alarms"), "fox")
    answer = audited()
    assert answer.exit_code == 1
    assert "fox" in answer.output
    assert "alarm" in answer.output
    findings = [json.loads(line) for line in audited("--json").output.splitlines()]
    assert [(each["rule"], each["id"]) for each in findings] == [("alarm", "fox")]
    assert findings[0]["remedy"]


@pytest.mark.parametrize(
    "url", [pytest.param("redis://127.0.0.1:1/0", id="does not answer"), pytest.param("http://x", id="invalid")]
)
def test_a_store_that_cannot_be_checked_does_not_pass(audited: Any, url: str) -> None:
    answer = audited(url=url)
    assert answer.exit_code == 2
    assert "BOOMERANG_REDIS_URL" in answer.output


def test_a_repair_is_reported_and_leaves_no_errors(audited: Any, store: Store) -> None:
    client, keys = store.context.client, store.context.keys
    client.zrem(keys.singleton("alarms"), "fox")
    client.hset(keys.member("lane", "default"), "slots", 3)
    answer = audited("--repair")
    assert answer.exit_code == 0
    assert "Every finding is repaired." in answer.output
    assert "fox" in answer.output
    assert "lane default" in answer.output
    assert audited().output == "Every invariant holds.\n"


def test_a_repair_reports_what_it_could_not_repair(audited: Any, store: Store) -> None:
    client, keys = store.context.client, store.context.keys
    client.zrem(keys.singleton("alarms"), "fox")
    client.delete(keys.member("text", "fox"))
    answer = audited("--repair", "--json", "--pause", "1")
    assert answer.exit_code == 1
    findings = [json.loads(line) for line in answer.output.splitlines()]
    assert [(each["rule"], each["repairable"], each["repaired"]) for each in findings] == [
        ("alarm", True, True),
        ("request", False, False),
    ]


def test_two_repairs_do_not_run_at_once(audited: Any, store: Store) -> None:
    client, keys = store.context.client, store.context.keys
    client.set(keys.singleton("repair"), "another 1")
    answer = audited("--repair")
    assert answer.exit_code == 2
    assert "Another repair" in answer.output
