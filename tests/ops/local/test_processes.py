from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.local import processes
from ops.local.child import ChildSpec
from ops.local.data_folder import Secrets
from ops.local.processes import Plan
from webhook.settings import Settings as WebhookSettings
from worker.settings import Settings as WorkerSettings

REDIS, BROKER = "redis://:password@127.0.0.1:7000/0", "redis://:password@127.0.0.1:7001/0"
PORTS = {"webhook": 8001, "simulator": 8002, "flower": 8003}


def plan(tmp_path: Path, outside: Mapping[str, str] | None = None, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "folder": tmp_path, "ports": PORTS, "secrets": Secrets(), "environ": dict(outside or {}), "webhook_fd": 9,
    }  # fmt: skip
    return Plan(**{**given, **changes})


def environments(made: Plan) -> dict[str, Mapping[str, str]]:
    return {each.name: each.env for each in started(made)}


def started(made: Plan) -> list[ChildSpec]:
    state = dict.fromkeys(("worker", "webhook"), REDIS)
    return processes.service_processes(made, state, dict.fromkeys((*state, "beat", "flower"), BROKER))


def test_with_the_simulator_the_pieces_know_each_other(tmp_path: Path) -> None:
    made = plan(tmp_path)
    given = environments(made)
    assert list(given) == ["simulator", "webhook", "worker", "beat", "flower"]
    worker, webhook = WorkerSettings.from_env(given["worker"]), WebhookSettings.from_env(given["webhook"])
    assert (worker.provider_url, worker.provider_key) == ("http://127.0.0.1:8002", made.secrets.provider_key)
    assert worker.public_url == webhook.public_url == "http://127.0.0.1:8001"
    assert worker.callback_secrets == webhook.callback_secrets == (made.secrets.callback_secret,)
    assert worker.redis_url == webhook.redis_url == REDIS
    assert worker.broker_url == worker.result_url == webhook.broker_url == BROKER
    assert webhook.admin_keys == (f"local:{made.secrets.api_key}",)
    assert worker.allow_private_hosts
    assert webhook.allow_private_hosts


@pytest.mark.parametrize("outside", [{}, {"BOOMERANG_PROVIDER_KEY": "real-key"}], ids=["generated", "given"])
def test_the_providers_key_goes_to_who_speaks_with_the_provider(tmp_path: Path, outside: dict[str, str]) -> None:
    made = plan(tmp_path, outside, simulator=None if outside else "")
    key = outside.get("BOOMERANG_PROVIDER_KEY", made.secrets.provider_key)
    holders = [name for name, env in environments(made).items() if key in env.values()]
    assert holders == ["worker"]
    assert "BOOMERANG_PROVIDER_KEY" not in environments(made)["webhook"]


def test_lanes_have_keys_of_their_own_or_the_simulators(tmp_path: Path) -> None:
    outside = {"BOOMERANG_LANES": '[{"name": "a"}, {"name": "b-2"}]', "BOOMERANG_PROVIDER_KEY_A": "key-of-a"}
    made = plan(tmp_path, outside)
    given = environments(made)
    lanes = WorkerSettings.from_env(given["worker"])
    assert [lanes.key_of(lane) for lane in lanes.lanes] == ["key-of-a", made.secrets.provider_key]
    assert [name for name, env in given.items() if "key-of-a" in env.values()] == ["worker"]


def test_producers_keys_go_to_the_webhook_alone(tmp_path: Path) -> None:
    for variable in ("API_KEYS", "ADMIN_KEYS", "SESSION_SECRET", "METRICS_TOKEN"):
        given = environments(plan(tmp_path, {f"BOOMERANG_{variable}": "one,two"}))
        assert [name for name, env in given.items() if "one,two" in env.values()] == ["webhook"]


@pytest.mark.parametrize("keys", ["one,two", " shop:one ,two", "one", "shop:one"])
def test_what_a_producer_sends_is_the_secret_without_its_name(tmp_path: Path, keys: str) -> None:
    assert plan(tmp_path, {"BOOMERANG_API_KEYS": keys}).first_key == "one"


def test_no_secret_stands_on_a_command_line_but_the_simulators_own_key(tmp_path: Path) -> None:
    made = plan(tmp_path)
    secrets = {made.secrets.api_key, made.secrets.callback_secret, made.secrets.flower_password, REDIS, BROKER}
    words = {word for each in started(made) for word in each.argv}
    assert not [word for word in words if any(secret in word for secret in secrets)]
    assert not any(secret in repr(made) for secret in {*secrets, made.secrets.provider_key})


def test_a_real_provider_cannot_call_loopback_so_jobs_are_polled(tmp_path: Path) -> None:
    given = environments(plan(tmp_path, {"BOOMERANG_PROVIDER_KEY": "real-key"}, simulator=None))
    settings = WorkerSettings.from_env(given["worker"])
    assert "simulator" not in given
    assert settings.public_url is None
    assert settings.provider_url == "https://cloud.vtrix.ai"


def test_a_tunnel_of_ones_own_is_told_to_the_provider(tmp_path: Path) -> None:
    outside = {"BOOMERANG_PROVIDER_KEY": "real-key", "BOOMERANG_PUBLIC_URL": "https://tunnel.example"}
    given = environments(plan(tmp_path, outside, simulator=None))
    assert WorkerSettings.from_env(given["worker"]).public_url == "https://tunnel.example"


def test_settings_of_the_shell_reach_the_service_but_not_another_redis(tmp_path: Path) -> None:
    outside = {"BOOMERANG_MAX_IN_FLIGHT": "12", "BOOMERANG_BROKER_URL": "redis://elsewhere/0", "PATH": "/bin"}
    given = environments(plan(tmp_path, outside))
    settings = WorkerSettings.from_env(given["worker"])
    assert (settings.max_in_flight, settings.broker_url) == (12, BROKER)
    assert [name for name in given["simulator"] if name.startswith("BOOMERANG_")] == []


def test_without_flower_there_is_none(tmp_path: Path) -> None:
    assert "flower" not in environments(plan(tmp_path, flower=False))


def test_every_part_has_its_place_in_the_order_of_stopping(tmp_path: Path) -> None:
    assert set(processes.STOP_ORDER) == {processes.STATE, processes.BROKER, *environments(plan(tmp_path))}
    assert processes.STOP_ORDER[-2:] == (processes.BROKER, processes.STATE)


def test_one_redis_may_be_both(tmp_path: Path) -> None:
    env = processes.environment(plan(tmp_path), REDIS)
    assert env["BOOMERANG_BROKER_URL"] == env["BOOMERANG_RESULT_URL"] == env["BOOMERANG_REDIS_URL"] == REDIS
