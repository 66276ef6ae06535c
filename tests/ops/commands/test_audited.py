"""What commands change is in the audit trail, among the entries of operators."""

import os
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from jobs.audit_trail import Via
from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.owners import ANYONE
from jobs.store.store import Store
from ops.cli import main
from ops.commands import audited


@pytest.fixture
def run(redis_url: str) -> Callable[..., Result]:
    def invoke(*args: str) -> Result:
        return CliRunner().invoke(main, list(args), env={"BOOMERANG_REDIS_URL": redis_url, "COLUMNS": "250"})

    return invoke


def recorded(store: Store) -> list[tuple[str, dict[str, str]]]:
    found = []
    for entry in reversed(store.audit_trail.page(ANYONE).entries):
        assert entry.action is not None
        assert (entry.action.via, entry.action.key) == (Via.COMMAND, "")
        assert entry.action.by
        found.append((entry.action.operation, dict(entry.action.details)))
    return found


def test_keys_lanes_and_limits(run: Callable[..., Result], store: Store) -> None:
    secret = run("keys", "add", "shop").stdout.strip()
    key_id = secret.split("_")[1]
    run("keys", "limits", "shop", "--weight", "3", "--reason", "a sale")
    run("lanes", "pause", "default", "--reason", "new contract")
    run("lanes", "resume", "default")
    run("lanes", "set", "default", "--max-in-flight", "3")
    run("keys", "revoke", key_id)
    run("lanes", "pause", "unknown")
    (add, limits, pause, resume, set_, revoke) = recorded(store)
    assert (add[0], add[1]["key"], add[1]["producer"]) == ("keys.add", key_id, "shop")
    assert limits == ("limits", {"producer": "shop", "weight": "3", "reason": "a sale"})
    assert pause == ("lanes.pause", {"lane": "default", "reason": "new contract"})
    assert resume == ("lanes.resume", {"lane": "default"})
    assert set_ == ("limits", {"lane": "default", "max_in_flight": "3"})
    assert (revoke[0], revoke[1]["key"]) == ("keys.revoke", key_id)
    assert secret not in str(store.context.client.xrange("{b}:at:*"))


def test_decisions_about_jobs(run: Callable[..., Result], store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ["fox", "hen", "owl"]
    store.jobs.enqueue([NewJob(id=each, text="{}", model="m", owed=frozenset({Delivery.NOTIFY})) for each in ids])
    store.attempts.admit(3)
    for claim in store.attempts.claim(ids):
        store.attempts.mark_in_doubt(claim.id, claim.fence, "read timed out")
    assert run("settle", "fox", "--failed", "--dry-run").exit_code == 0
    assert recorded(store) == []
    assert run("settle", "fox", "--failed", "--yes", "--by", "ada").exit_code == 0
    assert recorded(store) == [("settle", {"job_id": "fox", "verdict": "failed"})]
    assert store.audit_trail.page(ANYONE, key="ada").entries
    monkeypatch.setattr(audited, "MOST_NAMED", 1)
    assert run("settle", "hen", "owl", "--failed", "--yes").exit_code == 0
    assert recorded(store)[1:] == [("settle", {"verdict": "failed", "affected": "2"})]


def test_without_a_trail_the_command_succeeds(run: Callable[..., Result], store: Store) -> None:
    store.context.client.set("{b}:at:*", "no stream")
    assert run("lanes", "pause", "default").exit_code == 0
    assert store.lanes.get("default").paused


def test_a_user_without_a_name_is_a_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("ops.commands.audited.getpass.getuser", nameless)
    audited.record(store, "keys.add")
    assert store.audit_trail.page(ANYONE, key=str(os.getuid())).entries
