import json
from typing import Any

import pytest

from jobs.choices import UnknownParameters
from jobs.errors import SettingsInvalid
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings
from jobs.logs import LogFormat
from jobs.setting import settings_of
from jobs.settings import Ambiguous, CallbackMode, Settings

LONG = "a-secret-that-is-long-enough"
WATCHED = "sentinel://:pw@a:26379,b:26379/1?master=jobs"


def read(**variables: str) -> Settings:
    return Settings.from_env({f"BOOMERANG_{name}": value for name, value in variables.items()})


@pytest.mark.parametrize(
    ("variable", "given", "field", "value"),
    [
        ("REDIS_URL", "rediss://:pw@redis.internal:6380/2", "redis_url", "rediss://:pw@redis.internal:6380/2"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1", "broker_url", "redis+socket:///run/redis.sock?virtual_host=1"),
        ("REDIS_URL", "redis://r:1/2", "result_url", "redis://r:1/2"),
        ("BROKER_URL", "amqp://user:pw@rabbit:5672//", "broker_url", "amqp://user:pw@rabbit:5672//"),
        ("REDIS_URL", WATCHED, "redis_url", WATCHED),
        ("REDIS_URL", WATCHED, "result_url", WATCHED),
        ("BROKER_URL", WATCHED, "broker_url", WATCHED),
        ("RESULT_URL", "rpc://", "result_url", "rpc://"),
        ("REPLICAS", "2", "replicas", 2),
        ("CALLBACK_SECRETS", f" {LONG} ,, {LONG}2", "callback_secrets", (LONG, f"{LONG}2")),
        ("PUBLIC_URL", "https://hooks.example", "link_base", "https://hooks.example"),
        ("LINK_URL", "http://webhook:8000", "link_base", "http://webhook:8000"),
        ("LINK_SECRETS", f"{LONG},{LONG}2", "link_keys", (LONG, f"{LONG}2")),
        ("CALLBACK_SECRETS", LONG, "link_keys", (LONG,)),
        ("LINK_LIFE", "60", "link_life", 60.0),
        ("MAX_IN_FLIGHT", "16", "max_in_flight", 16),
        ("SUBMIT_RATE", "2.5", "submit_rate", 2.5),
        ("LEARN_LIMIT", "on", "learn_limit", True),
        ("RECOVERY", "off", "recovery", False),
        ("TOLERATED_LOSS", "2.5", "tolerated_loss", 2.5),
        ("LEARN_LIMIT", "off", "learn_limit", False),
        ("LEARN_LIMIT", "on", "lanes", (LaneSettings(learn_limit=True),)),
        ("LANES", '[{"name": "eu", "learn_limit": true}]', "lanes", (LaneSettings(name="eu", learn_limit=True),)),
        ("POLL_FIRST", "0.05", "poll_first", 0.05),
        ("POLL_MAX", "20", "poll_max", 20.0),
        ("DEADLINE", "4080", "deadline", 4080.0),
        ("SUBMIT_LEASE", "90", "submit_lease", 90.0),
        ("LOOKUP_GRACE", "0", "lookup_grace", 0.0),
        ("AMBIGUOUS", "resend", "ambiguous", Ambiguous.RESEND),
        ("MAX_ATTEMPTS", "1", "max_attempts", 1),
        ("CALLBACK_MODE", "confirm", "callback_mode", CallbackMode.CONFIRM),
        ("RETENTION", "60", "retention", 60.0),
        ("AUDIT_TRAIL_RETENTION", "60", "audit_trail_retention", 60.0),
        ("ALLOW_PRIVATE_HOSTS", "true", "allow_private_hosts", True),
        ("CALLBACK_PORTS", "", "callback_ports", (80, 443)),
        ("CALLBACK_PORTS", "443, 8443", "callback_ports", (443, 8443)),
        ("CALLBACK_PORTS", "any", "callback_ports", None),
        ("UNKNOWN_PARAMETERS", "pass", "unknown_parameters", UnknownParameters.PASS),
        ("IMAGE_STORE", "redis", "image_store", "redis"),
        ("IMAGE_STORE", "file:///srv/images", "image_store", "file:///srv/images"),
        ("IMAGE_RETENTION", "3600", "image_retention", 3600.0),
        ("RESULT_STORE", "file:///srv/results", "result_store", "file:///srv/results"),
        ("RESULT_EXPIRY", "600", "result_expiry", 600.0),
        ("LOG_FORMAT", "json", "log_format", LogFormat.JSON),
        ("LANES", '[{"name": "eu", "max_in_flight": 3}]', "lanes", (LaneSettings(name="eu", max_in_flight=3),)),
        ("KEY_LIMITS", '{"shop": {"weight": 3}}', "key_limits", {"shop": KeyLimits(weight=3)}),
        *(
            (
                "KEY_LIMITS",
                json.dumps({"shop": {"callback_hosts": [host]}}),
                "key_limits",
                {"shop": KeyLimits(callback_hosts=(host.lower(),))},
            )
            for host in ("*", "Hooks.shop.example", "*.shop.example", "127.0.0.1", "[2001:db8::7]")
        ),
    ],
)
def test_a_good_value_is_read(variable: str, given: str, field: str, value: Any) -> None:
    assert getattr(read(**{variable: given}), field) == value


BAD = [
    ("REDIS_URL", "localhost:6379"),
    ("REDIS_URL", "http://localhost"),
    ("REDIS_URL", "redis://"),
    ("REDIS_URL", "redis:///0"),
    ("REDIS_URL", "redis://[::1"),
    ("REDIS_URL", "unix://"),
    ("REDIS_URL", "sentinel://a:26379,b:26379/0"),
    ("BROKER_URL", "sentinel://a:26379;sentinel://b:26379"),
    ("BROKER_URL", "sqs://"),
    ("BROKER_URL", "redis+socket://"),
    ("RESULT_URL", "file:///tmp/x"),
    ("REPLICAS", "-1"),
    ("PUBLIC_URL", "ftp://boomerang.example.com"),
    ("PUBLIC_URL", "https:///callbacks"),
    ("PUBLIC_URL", "boomerang.example.com"),
    ("CALLBACK_SECRETS", f"{LONG},short"),
    ("LINK_URL", "boomerang.example.com"),
    ("LINK_SECRETS", "short"),
    ("LINK_LIFE", "59"),
    ("LINK_LIFE", "inf"),
    ("MAX_IN_FLIGHT", "-1"),
    ("MAX_IN_FLIGHT", "many"),
    ("MAX_IN_FLIGHT", "1.5"),
    ("SUBMIT_RATE", "-0.1"),
    ("SUBMIT_RATE", "nan"),
    ("SUBMIT_RATE", "inf"),
    ("LEARN_LIMIT", "perhaps"),
    ("RECOVERY", "perhaps"),
    ("TOLERATED_LOSS", "-1"),
    ("LANES", '[{"name": "eu", "learn_limit": 7}]'),
    ("POLL_FIRST", "0"),
    ("POLL_MAX", "soon"),
    ("DEADLINE", "0.5"),
    ("DEADLINE", "inf"),
    ("SUBMIT_LEASE", "0"),
    ("LOOKUP_GRACE", "-1"),
    ("AMBIGUOUS", "guess"),
    ("MAX_ATTEMPTS", "0"),
    ("LANES", "eu,us"),
    ("LANES", "[]"),
    ("LANES", '{"name": "eu"}'),
    ("LANES", '[{"name": "EU"}]'),
    ("LANES", '[{"name": "eu"}, {"name": "eu"}]'),
    ("LANES", '[{"name": "eu", "max_in_flight": -1}]'),
    ("LANES", '[{"name": "eu", "key": "secret"}]'),
    ("LANES", '[{"name": "eu", "url": "ftp://x"}]'),
    ("LANES", '[{"name": "eu", "max_cost_per_day": 0}]'),
    ("KEY_LIMITS", "shop"),
    ("KEY_LIMITS", "[]"),
    ("KEY_LIMITS", '{"shop": {"weight": 0}}'),
    ("KEY_LIMITS", '{"shop": 3}'),
    *(
        ("KEY_LIMITS", json.dumps({"shop": {"callback_hosts": hosts}}))
        for hosts in ([], "shop.example", ["https://shop.example"], ["shop.example:443"], ["*shop.example"], [""], [7])
    ),
    ("CALLBACK_PORTS", "https"),
    ("CALLBACK_PORTS", "443,0"),
    ("CALLBACK_PORTS", "443,65536"),
    ("CALLBACK_PORTS", "any,443"),
    ("CALLBACK_MODE", "believe"),
    ("RETENTION", "59"),
    ("AUDIT_TRAIL_RETENTION", "59"),
    ("ALLOW_PRIVATE_HOSTS", "perhaps"),
    ("UNKNOWN_PARAMETERS", "yes"),
    ("IMAGE_STORE", "/srv/images"),
    ("IMAGE_STORE", "nowhere://images"),
    ("IMAGE_RETENTION", "59"),
    ("RESULT_STORE", "redis"),
    ("RESULT_STORE", "/srv/results"),
    ("RESULT_STORE", "nowhere://results"),
    ("RESULT_EXPIRY", "59"),
    ("PRICES", "0.04"),
    ("PRICES", '{"kirin_image_omni": "cheap"}'),
    ("PRICES", '{"kirin_image_omni": {"2k": -1}}'),
    ("LANES", '[{"name": "eu", "result_expiry": 59}]'),
    ("COMPLETE_WHEN_SAVED", "perhaps"),
    ("COMPLETE_WHEN_SAVED", "on"),
    ("LOG_FORMAT", "xml"),
]


@pytest.mark.parametrize(("variable", "given"), BAD)
def test_a_bad_value_is_named(variable: str, given: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        read(**{variable: given})
    assert any(problem.startswith(f"BOOMERANG_{variable}: ") for problem in caught.value.problems)


def test_every_variable_has_a_good_a_bad_and_an_empty_row() -> None:
    names = {each.variable for each in settings_of(Settings).values()}
    assert {f"BOOMERANG_{variable}" for variable, _ in BAD} == names
    assert Settings.from_env(dict.fromkeys(names, " ")) == Settings.from_env({}) == Settings()


def test_all_bad_values_are_reported_at_once() -> None:
    bad = {variable: given for variable, given in reversed(BAD) if variable != "PUBLIC_URL"}
    with pytest.raises(SettingsInvalid) as caught:
        read(**bad)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == sorted(
        f"BOOMERANG_{variable}" for variable in bad
    )
    assert all(problem in str(caught.value) for problem in caught.value.problems)


def test_secrets_are_not_in_the_repr_or_in_errors() -> None:
    good = read(REDIS_URL="redis://:hunter2@h/0", BROKER_URL="amqp://u:hunter2@h", CALLBACK_SECRETS=f"{LONG}-hunter2")
    assert "hunter2" not in repr(good)
    wrong = {"REDIS_URL": "https://:hunter2@h", "BROKER_URL": "redis://[hunter2", "CALLBACK_SECRETS": "hunter2"}
    with pytest.raises(SettingsInvalid) as caught:
        read(**wrong, RESULT_URL="sentinel://:hunter2:@hunter2")
    assert len(caught.value.problems) == 4
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, 5.0),  # polling only
        ({"PUBLIC_URL": "https://b.example.com", "CALLBACK_SECRETS": LONG}, 30.0),  # callbacks come first
        ({"PUBLIC_URL": "https://b.example.com", "CALLBACK_SECRETS": LONG, "POLL_FIRST": "3"}, 3.0),  # set explicitly
    ],
)
def test_the_first_poll_comes_later_where_callbacks_are_configured(variables: dict[str, str], first: float) -> None:
    assert read(**variables).poll_first == first


def test_other_variables_are_ignored() -> None:
    assert Settings.from_env({"PATH": "/bin", "BOOMERANG_PROVIDER_KEY": "of the worker"}) == Settings()
