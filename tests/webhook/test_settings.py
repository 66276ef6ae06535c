import pytest

from jobs.errors import SettingsInvalid
from webhook.settings import CALLBACK_LIMIT, JOB_LIMIT, Settings


def test_the_defaults_make_a_local_stack_work() -> None:
    settings = Settings.from_env({})
    assert (settings.api_keys, settings.max_callback, settings.max_body) == ((), CALLBACK_LIMIT, JOB_LIMIT)
    assert settings.broker_url == settings.redis_url


def test_keys_are_separated_by_commas() -> None:
    assert Settings.from_env({"BOOMERANG_API_KEYS": " one, two,,"}).api_keys == ("one", "two")


def test_all_bad_variables_are_named_at_once_and_no_secret_is() -> None:
    env = {
        "BOOMERANG_API_KEYS": "good,with space",
        "BOOMERANG_MAX_BODY": "much",
        "BOOMERANG_MAX_CALLBACK": "12",
        "BOOMERANG_REDIS_URL": "http://user:pass@elsewhere",
    }
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_env(env)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == sorted(env)
    assert "with space" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_secrets_stay_out_of_the_repr() -> None:
    env = {
        "BOOMERANG_API_KEYS": "canary-key",
        "BOOMERANG_CALLBACK_SECRETS": "canary-callback-secret",
        "BOOMERANG_REDIS_URL": "redis://:canary-password@127.0.0.1:6379/0",
    }
    assert "canary" not in repr(Settings.from_env(env))
