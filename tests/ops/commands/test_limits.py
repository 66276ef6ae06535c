"""boomerang-server lanes and keys limits."""

import json
import logging

import pytest
from click.testing import CliRunner, Result

from jobs.key_limits import KeyLimits
from jobs.store.store import Store
from ops.cli import main

LANES = json.dumps([{"name": "main", "max_in_flight": 64}, {"name": "spare"}])
LIMITS = json.dumps({"shop": {"weight": 2, "max_cost_per_day": "50"}})


def run(redis_url: str, *args: str) -> Result:
    env = {"BOOMERANG_REDIS_URL": redis_url, "BOOMERANG_LANES": LANES, "BOOMERANG_KEY_LIMITS": LIMITS}
    return CliRunner().invoke(main, args, env=env)


def listed(redis_url: str) -> list[dict[str, object]]:
    result = run(redis_url, "lanes", "list", "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_lane_is_changed_paused_and_resumed(redis_url: str, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "boomerang.audit")
    changed = run(
        redis_url, "lanes", "set", "main", "--max-in-flight", "7", "--max-cost-per-day", "12.50", "--for", "2h"
    )
    assert changed.exit_code == 0, changed.output
    rows = [line.split("\t") for line in changed.stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["max_in_flight", "7", "64"],
        ["submit_rate", "0.0", "0.0"],
        ["max_cost_per_day", "12.5", "none"],
    ]
    assert run(redis_url, "lanes", "pause", "main", "--reason", "new contract", "--for", "30m").exit_code == 0
    main_, spare = listed(redis_url)
    assert (main_["max_in_flight"], main_["paused"], spare["paused"]) == (7, True, False)
    assert run(redis_url, "lanes", "resume", "main").exit_code == 0
    assert (
        run(redis_url, "lanes", "set", "main", "--reset", "max-in-flight", "--max-cost-per-day", "none").exit_code == 0
    )
    main_, _ = listed(redis_url)
    assert (main_["max_in_flight"], main_["max_cost_per_day"], main_["paused"]) == (64, None, False)
    operations = [record.getMessage().split()[0] for record in caplog.records if record.name == "boomerang.audit"]
    assert operations == [f"operation={name}" for name in ("limits", "lanes.pause", "lanes.resume", "limits")]


def test_the_limits_of_a_key_are_shown_and_changed(redis_url: str, store: Store) -> None:
    shown = run(redis_url, "keys", "limits", "shop")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[0].split("\t")[:3] == ["weight", "2", "2"]
    hosts = ["--callback-hosts", "a.example,*.b.example"]
    assert run(redis_url, "keys", "limits", "shop", "--weight", "5", "--priority", "high", *hosts).exit_code == 0
    view = json.loads(run(redis_url, "keys", "limits", "shop", "--json").stdout)
    assert (view["weight"], view["priority"], view["callback_hosts"]) == (5, "high", ["a.example", "*.b.example"])
    assert (
        run(redis_url, "keys", "limits", "shop", *("--reset", "priority"), *("--reset", "callback-hosts")).exit_code
        == 0
    )
    changed = run(redis_url, "keys", "limits", "shop")
    assert changed.stdout.splitlines()[0].split("\t")[:3] == ["weight", "5", "2"]


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(("lanes", "set", "other", "--max-in-flight", "7"), id="no lane"),
        pytest.param(("lanes", "pause", "other"), id="no lane to pause"),
        pytest.param(("lanes", "set", "main", "--max-in-flight", "seven"), id="no number"),
        pytest.param(("lanes", "set", "main", "--max-in-flight", "none"), id="a limit that has a value always"),
        pytest.param(("lanes", "set", "main", "--submit-rate", "-1"), id="negative"),
        pytest.param(("lanes", "set", "main", "--max-in-flight", "7", "--reset", "max-in-flight"), id="both"),
        pytest.param(("lanes", "set", "main", "--max-in-flight", "7", "--for", "soon"), id="no duration"),
        pytest.param(("keys", "limits", "shop", "--priority", "highest"), id="no class"),
        pytest.param(("keys", "limits", "shop", "--callback-hosts", "http://a.example"), id="no host"),
    ],
)
def test_a_bad_change_says_so_and_changes_nothing(redis_url: str, store: Store, args: tuple[str, ...]) -> None:
    result = run(redis_url, *args)
    assert result.exit_code == 2, result.output
    assert store.context.client.hgetall(store.context.keys.singleton("limits")) == {}
    assert store.context.settings.key_limits.get("shop", KeyLimits()) == KeyLimits()
