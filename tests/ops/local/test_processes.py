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


def test_with_the_simulator_the_processes_have_each_others_addresses(tmp_path: Path) -> None:
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
def test_only_processes_that_call_the_provider_get_its_key(tmp_path: Path, outside: dict[str, str]) -> None:
    made = plan(tmp_path, outside, simulator=None if outside else "")
    key = outside.get("BOOMERANG_PROVIDER_KEY", made.secrets.provider_key)
    holders = [name for name, env in environments(made).items() if key in env.values()]
    assert holders == (["worker"] if outside else ["simulator", "worker"])
    assert "BOOMERANG_PROVIDER_KEY" not in environments(made)["webhook"]


@pytest.mark.parametrize("given", ["", "redis://operator:other@127.0.0.1:7002/0"])
def test_only_the_webhook_gets_the_address_for_making_keys(tmp_path: Path, given: str) -> None:
    made = plan(tmp_path, {"BOOMERANG_KEYS_REDIS_URL": given} if given else {})
    urls = dict.fromkeys(("worker", "webhook", "beat", "flower"), REDIS)
    specs = processes.service_processes(made, urls, urls, "redis://operator:password@127.0.0.1:7000/0")
    found = {spec.name: spec.env.get("BOOMERANG_KEYS_REDIS_URL") for spec in specs}
    assert found.pop("webhook") == (given or "redis://operator:password@127.0.0.1:7000/0")
    assert not any(found.values())


def test_each_lane_has_its_own_key_or_the_simulators(tmp_path: Path) -> None:
    outside = {"BOOMERANG_LANES": '[{"name": "a"}, {"name": "b-2"}]', "BOOMERANG_PROVIDER_KEY_A": "key-of-a"}
    made = plan(tmp_path, outside)
    given = environments(made)
    lanes = WorkerSettings.from_env(given["worker"])
    assert [lanes.key_of(lane) for lane in lanes.lanes] == ["key-of-a", made.secrets.provider_key]
    assert [name for name, env in given.items() if "key-of-a" in env.values()] == ["worker"]


def test_only_the_webhook_gets_the_producers_keys(tmp_path: Path) -> None:
    for variable in ("API_KEYS", "ADMIN_KEYS", "SESSION_SECRET", "METRICS_TOKEN"):
        given = environments(plan(tmp_path, {f"BOOMERANG_{variable}": "one,two"}))
        assert [name for name, env in given.items() if "one,two" in env.values()] == ["webhook"]


@pytest.mark.parametrize("keys", ["one,two", " shop:one ,two", "one", "shop:one"])
def test_a_producer_sends_the_secret_without_its_name(tmp_path: Path, keys: str) -> None:
    assert plan(tmp_path, {"BOOMERANG_API_KEYS": keys}).first_key == "one"


@pytest.mark.parametrize(
    ("variable", "processes"),
    [
        ("CALLBACK_SECRETS", ["webhook", "worker"]),
        ("NOTIFY_SECRETS", ["worker"]),
        ("PROVIDER_PROXY", ["worker"]),
        ("SIGNATURE_SECRETS", ["webhook"]),
    ],
)
def test_a_secret_reaches_only_the_processes_that_need_it(tmp_path: Path, variable: str, processes: list[str]) -> None:
    given = environments(plan(tmp_path, {f"BOOMERANG_{variable}": "one-secret-of-32-characters-or-so"}))
    assert [name for name, env in given.items() if "one-secret-of-32-characters-or-so" in env.values()] == processes
    # Beat and Flower start without it.
    for name in ("beat", "flower"):
        assert WorkerSettings.from_env(given[name]).callback_secrets == ()


def test_no_command_line_has_a_secret(tmp_path: Path) -> None:
    made = plan(tmp_path)
    generated = made.secrets
    secrets = {generated.api_key, generated.callback_secret, generated.flower_password, generated.provider_key}
    secrets |= {REDIS, BROKER}
    args = {arg for each in started(made) for arg in each.argv}
    assert not [arg for arg in args if any(secret in arg for secret in secrets)]
    assert not any(secret in repr(made) for secret in {*secrets, made.secrets.provider_key})


def test_a_real_provider_cannot_call_loopback_so_jobs_are_polled(tmp_path: Path) -> None:
    given = environments(plan(tmp_path, {"BOOMERANG_PROVIDER_KEY": "real-key"}, simulator=None))
    settings = WorkerSettings.from_env(given["worker"])
    assert "simulator" not in given
    assert settings.public_url is None
    assert settings.provider_url == "https://cloud.vtrix.ai"


def test_a_callback_url_of_the_users_tunnel_reaches_the_provider(tmp_path: Path) -> None:
    outside = {"BOOMERANG_PROVIDER_KEY": "real-key", "BOOMERANG_PUBLIC_URL": "https://tunnel.example"}
    given = environments(plan(tmp_path, outside, simulator=None))
    assert WorkerSettings.from_env(given["worker"]).public_url == "https://tunnel.example"


def test_shell_settings_reach_the_service_except_its_redis_urls(tmp_path: Path) -> None:
    outside = {"BOOMERANG_MAX_IN_FLIGHT": "12", "BOOMERANG_BROKER_URL": "redis://elsewhere/0", "PATH": "/bin"}
    given = environments(plan(tmp_path, outside))
    settings = WorkerSettings.from_env(given["worker"])
    assert (settings.max_in_flight, settings.broker_url) == (12, BROKER)
    assert [name for name in given["simulator"] if name.startswith("BOOMERANG_")] == ["BOOMERANG_SIMULATOR_KEYS"]


def test_without_the_flower_option_there_is_no_flower_process(tmp_path: Path) -> None:
    assert "flower" not in environments(plan(tmp_path, flower=False))


def test_every_process_has_a_place_in_the_shutdown_order(tmp_path: Path) -> None:
    names = [name for group in processes.STOP_ORDER for name in group]
    assert sorted(names) == sorted([processes.STATE, processes.BROKER, *environments(plan(tmp_path))])
    assert processes.STOP_ORDER[-2:] == ((processes.BROKER,), (processes.STATE,))


def test_one_redis_may_serve_both_purposes(tmp_path: Path) -> None:
    env = processes.environment(plan(tmp_path), REDIS)
    assert env["BOOMERANG_BROKER_URL"] == env["BOOMERANG_RESULT_URL"] == env["BOOMERANG_REDIS_URL"] == REDIS
