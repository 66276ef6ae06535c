"""The how-to for S3 works against a real S3 API: with its settings, and with the rights of its policy and no others."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from jobs.errors import ResultsUnavailable
from jobs.results.results import open_results
from jobs.settings import Settings
from ops.doctor.results import check_results
from tests.support.s3 import BUCKET, s3_api
from worker.settings import Settings as WorkerSettings

pytestmark = pytest.mark.stack
PAGE = (Path(__file__).parents[2] / "docs/guides/save-results.md").read_text("utf-8").partition("## Save to S3")[2]
POLICY, SETTINGS = (
    re.findall(rf"^ *```{language}\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)[0] for language in ("json", "sh")
)
#: Larger than one part of an upload.
LARGE = os.urandom(1024) * 1024 * 20


def settings() -> dict[str, str]:
    """Return the settings of the page, without comments."""
    return {name: value.split("#")[0].strip() for name, _, value in map(_split, SETTINGS.strip().splitlines())}


def _split(line: str) -> tuple[str, str, str]:
    return line.strip().partition("=")


@pytest.fixture
def store_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the result store of the page, in an S3 API that grants what the policy of the page grants."""
    boto3 = pytest.importorskip("boto3")
    with s3_api() as url:
        assert url == settings()["BOOMERANG_RESULT_STORE"]
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        iam = boto3.client("iam", region_name="us-east-1")
        iam.create_user(UserName="boomerang")
        iam.put_user_policy(UserName="boomerang", PolicyName="results", PolicyDocument=POLICY)
        key = iam.create_access_key(UserName="boomerang")["AccessKey"]
        given = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        for name, value in given.items():
            assert settings()[name] == "…"
            monkeypatch.setenv(name, value)
        enforce(endpoint, 0)
        try:
            yield url
        finally:
            enforce(endpoint, float("inf"))


def enforce(endpoint: str, after: float) -> None:
    """Make the server check all rights after so many more requests."""
    requests.post(f"{endpoint}/moto-api/reset-auth", data=str(after), timeout=10).raise_for_status()


def test_the_settings_of_the_page_are_settings() -> None:
    named = settings()
    assert Settings.from_env(named).result_store == named["BOOMERANG_RESULT_STORE"]
    assert {name for name in named if not name.startswith("BOOMERANG_")} <= {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
    }


def test_the_policy_of_the_page_grants_all_that_the_service_does(store_url: str) -> None:
    results = open_results(store_url, lambda: False)
    results.mark()
    for name, data in (("boats/1.png", b"a picture"), ("boats/2.png", LARGE)):
        with results.draft() as draft:
            draft.file.write(data)
            results.put(draft, name, "image/png")
        assert results.read(name) == data
        found = results.info(name)
        assert found is not None
        assert found.size == len(data)
    results.write("boats/1.json", b"{}", "application/json")
    assert b"".join(results.stream("boats/2.png", 5, 10)) == LARGE[5:10]
    assert {each.name for each in results.list()} >= {"boats/1.png", "boats/2.png", "boats/1.json"}
    assert results.sweep(0.0) == 0
    results.remove(["boats/1.json"])
    assert results.info("boats/1.json") is None


def without(action: str) -> None:
    """Take one right from the user."""
    boto3 = pytest.importorskip("boto3")
    policy = json.loads(POLICY)
    for statement in policy["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action]
    enforce(os.environ["AWS_ENDPOINT_URL"], float("inf"))
    iam = boto3.client("iam", region_name="us-east-1")
    iam.put_user_policy(UserName="boomerang", PolicyName="results", PolicyDocument=json.dumps(policy))
    enforce(os.environ["AWS_ENDPOINT_URL"], 0)


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:ListBucket"])
def test_without_one_of_its_rights_the_store_is_unavailable(store_url: str, action: str) -> None:
    """So this server really checks the rights."""
    without(action)

    def use() -> Any:
        results = open_results(store_url, lambda: False)
        results.mark()
        results.write("boats/1.json", b"{}", "application/json")
        return results.read("boats/1.json"), list(results.list())

    with pytest.raises(ResultsUnavailable):
        use()


def test_nothing_outside_of_the_folder_is_written(store_url: str) -> None:
    with pytest.raises(ResultsUnavailable):
        open_results(f"s3://{BUCKET}/elsewhere", lambda: False).mark()


def test_the_doctor_finds_the_store_usable(store_url: str, redis_url: str) -> None:
    found = list(check_results(WorkerSettings(redis_url=redis_url, result_store=store_url)))
    assert [each.level.value for each in found if each.subject == "result store"] == ["ok"]


def test_the_doctor_warns_where_incomplete_uploads_cannot_be_listed(store_url: str, redis_url: str) -> None:
    without("s3:ListBucketMultipartUploads")
    found = list(check_results(WorkerSettings(redis_url=redis_url, result_store=store_url)))
    assert [each.level.value for each in found if each.subject == "result store"] == ["ok", "warning"]
    assert "s3:ListBucketMultipartUploads" in found[-1].remedy


def test_the_doctor_finds_that_the_store_cannot_be_listed(store_url: str, redis_url: str) -> None:
    without("s3:ListBucket")
    found = list(check_results(WorkerSettings(redis_url=redis_url, result_store=store_url)))
    assert [each.level.value for each in found if each.subject == "result store"] == ["bad"]
