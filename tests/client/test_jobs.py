"""One job: enqueue, read, wait, change. Which requests are repeated and which are not."""

import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import (
    ApiError,
    BoomerangError,
    Client,
    Conflict,
    Invalid,
    NotFound,
    ServerFault,
    ServiceUnavailable,
    Status,
    StillRunning,
    TooBusy,
    Unauthorized,
    UnexpectedAnswer,
    UsageError,
)
from tests.support.fake_boomerang import FakeService, Fault

REQUEST = {"model": "kirin_image_omni", "prompt": "A red boat in the fog"}


def test_an_id_is_made_for_a_request_without_one(client: Client, service: FakeService) -> None:
    first, second = client.enqueue(REQUEST), client.enqueue(REQUEST)
    assert first.status is Status.QUEUED
    assert len({first.id, second.id, *service.jobs}) == 2
    assert "external_task_id" not in REQUEST


def test_the_same_id_and_request_is_the_same_job_another_request_a_conflict(
    client: Client, service: FakeService
) -> None:
    one = REQUEST | {"external_task_id": "boat-1"}
    assert client.enqueue(one) == client.enqueue(one)
    with pytest.raises(Conflict, match="Use another external_task_id"):
        client.enqueue(one | {"prompt": "A green boat"})
    assert list(service.jobs) == ["boat-1"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503}, id="503"),
        pytest.param({"status": 502}, id="502"),
        pytest.param({"status": 504, "after": True}, id="504-after-it-was-taken-in"),
        pytest.param({"status": 429, "headers": {"Retry-After": "0"}}, id="429-retry-after-0"),
        pytest.param({"status": 429, "headers": {"Retry-After": "soon"}}, id="429-retry-after-garbage"),
        pytest.param({}, id="cut"),
        pytest.param({"after": True}, id="cut-after-it-was-taken-in"),
    ],
)
def test_a_post_is_repeated_under_the_same_id(client: Client, service: FakeService, fault: dict[str, Any]) -> None:
    service.faults.append(Fault(**fault))
    job = client.enqueue(REQUEST)
    assert service.paths() == ["POST /v1/jobs"] * 2
    assert service.seen[0].body == service.seen[1].body
    assert list(service.jobs) == [job.id]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param({"status": 503}, ServerFault, id="503"),
        pytest.param({"status": 429}, TooBusy, id="429"),
        pytest.param({}, ServiceUnavailable, id="cut"),
    ],
)
def test_an_unknown_outcome_names_the_id_for_a_repeat(
    client: Client, service: FakeService, fault: dict[str, Any], kind: type[BoomerangError]
) -> None:
    # Given a service that accepts the job and then fails for longer than the client retries
    service.faults.extend([Fault(after=True)] + [Fault(**fault)] * 4)
    with pytest.raises(kind) as caught:
        client.enqueue(REQUEST)
    # When the caller repeats the call with the error's id, Then it gets the accepted job
    assert caught.value.repeat_id in str(caught.value)
    assert client.enqueue(REQUEST | {"external_task_id": caught.value.repeat_id}).id == caught.value.repeat_id
    assert len(service.jobs) == 1


def test_a_long_retry_after_is_an_error_for_the_caller(client: Client, service: FakeService) -> None:
    service.faults.append(Fault(status=429, headers={"Retry-After": "86400"}))
    with pytest.raises(TooBusy) as caught:
        client.enqueue(REQUEST)
    assert caught.value.retry_after == 86400
    assert len(service.seen) == 1


def test_an_invalid_request_names_its_fields_and_is_sent_once(client: Client, service: FakeService) -> None:
    with pytest.raises(Invalid, match=r"n: Must be between 1 and 9\.") as caught:
        client.enqueue({"n": 12})
    error = caught.value
    assert (error.status, error.codes, error.repeat_id) == (422, ("002016003",), None)
    assert error.errors["model"] == ("Missing. Name one of: kirin_image_omni.",)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        pytest.param({"status": 500}, ServerFault, "HTTP 500", id="500-is-not-repeated"),
        pytest.param({"status": 418, "body": b'{"title": "Teapot"}'}, ApiError, "Teapot", id="other"),
        pytest.param({"status": 403, "body": b"[]"}, Unauthorized, "BOOMERANG_KEY", id="403-without-a-problem"),
        pytest.param({"status": 307, "headers": {"Location": "https://b.x"}}, UnexpectedAnswer, "b.x", id="307"),
        pytest.param({"status": 200, "body": b"<html>"}, UnexpectedAnswer, "BOOMERANG_URL", id="not-json"),
        pytest.param({"status": 200, "body": b"[]"}, UnexpectedAnswer, "BOOMERANG_URL", id="not-a-job"),
        pytest.param({"status": 200, "body": b'{"id": "1"}'}, UnexpectedAnswer, "BOOMERANG_URL", id="no-status"),
    ],
)
def test_responses_that_are_no_job_are_errors(
    *, client: Client, service: FakeService, fault: dict[str, Any], kind: type[BoomerangError], says: str
) -> None:
    service.faults.append(Fault(**fault))
    with pytest.raises(kind, match=says):
        client.job("boat-1")
    assert len(service.seen) == 1


def test_a_finished_job_is_typed(client: Client, service: FakeService) -> None:
    client.enqueue(REQUEST | {"external_task_id": "boat-1", "labels": {"shop": "7"}})
    job = client.job("boat-1")
    assert (job.status, job.status.final, job.cost) == (Status.COMPLETED, True, Decimal("0.0065"))
    assert [image.url for image in job.output] == ["https://images.example/boat-1.png"]
    assert job.created_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert job.finished_at - job.created_at == timedelta(seconds=12.5)
    assert job.labels == {"shop": "7"}


def test_a_state_of_a_later_version_is_unknown_and_not_final(client: Client, service: FakeService) -> None:
    client.enqueue(REQUEST | {"external_task_id": "boat-1"})
    service.jobs["boat-1"]["status"] = "meditating"
    [job] = client.jobs()
    assert (job.status, job.status.final, job.raw["status"]) == (Status.UNKNOWN, False, "meditating")


def test_waiting_polls_until_the_job_is_final(client: Client, service: FakeService, pauses: list[float]) -> None:
    service.polls_before_end = 2
    job = client.enqueue(REQUEST).wait()
    assert job.status is Status.COMPLETED
    assert [one.query for one in service.seen[1:]] == [{"wait": "60.0"}] * 3
    # A service that answers at once is polled at most once a second.
    assert pauses == [0.75, 0.75]
    assert job.wait() is job


def test_waiting_ends_with_the_timeout_and_the_job_continues(client: Client, service: FakeService) -> None:
    service.polls_before_end = 100
    job = client.enqueue(REQUEST)
    with pytest.raises(StillRunning, match="It continues"):
        job.wait(timeout=3)
    assert 1 < len(service.seen) < 6
    assert [float(one.query["wait"]) <= 3 for one in service.seen[1:]]


def test_waiting_shows_the_job_and_its_reason_until_it_has_ended(client: Client, service: FakeService) -> None:
    job = client.enqueue(REQUEST)
    service.jobs[job.id]["reason"] = "no worker answers"
    service.polls_before_end = 3
    seen: list[str | None] = []
    assert job.wait(progress=lambda one: seen.append(one.reason)).status is Status.COMPLETED
    assert seen == ["no worker answers"] * 3
    assert {float(one.query["wait"]) for one in service.seen[1:]} == {10.0}
    other = client.enqueue(REQUEST | {"external_task_id": "other"})
    service.jobs["other"]["reason"] = "no worker answers"
    service.polls_before_end = 100
    with pytest.raises(StillRunning, match="no worker answers"):
        other.wait(timeout=2)


def test_waiting_survives_a_restart_of_the_service(client: Client, service: FakeService, pauses: list[float]) -> None:
    job = client.enqueue(REQUEST)
    service.faults.extend([Fault()] * 12)
    assert job.wait().status is Status.COMPLETED
    assert pauses == [1, 2]
    job = client.enqueue(REQUEST)
    service.faults.extend([Fault()] * 30)
    with pytest.raises(ServiceUnavailable):
        job.wait(timeout=5)


def test_the_long_poll_ends_before_the_read_timeout(service: FakeService) -> None:
    with Client(timeout=(3, 20)) as client:
        client.enqueue(REQUEST).wait()
    assert service.seen[-1].query == {"wait": "15"}


def test_jobs_follow_the_cursor_and_stop_at_the_limit(client: Client, service: FakeService) -> None:
    for number in range(5):
        client.enqueue(REQUEST | {"external_task_id": f"boat-{number}"})
    service.end("boat-3")
    service.seen.clear()
    assert [job.id for job in client.jobs()] == [f"boat-{number}" for number in range(5)]
    assert [one.query.get("cursor") for one in service.seen] == [None, "2", "4"]
    assert [job.id for job in client.jobs(limit=3)] == ["boat-0", "boat-1", "boat-2"]
    assert [job.id for job in client.jobs(status=Status.COMPLETED)] == ["boat-3"]
    assert list(client.jobs(batch="another")) == []


def test_a_job_is_cancelled_and_retried_if_its_state_allows_it(client: Client, service: FakeService) -> None:
    client.enqueue(REQUEST | {"external_task_id": "boat-1"})
    assert client.cancel("boat-1").status is Status.CANCELLED
    assert client.cancel("boat-1").status is Status.CANCELLED
    assert client.retry("boat-1").status is Status.QUEUED
    with pytest.raises(Conflict, match="not possible now"):
        client.retry("boat-1")
    service.end("boat-1")
    with pytest.raises(Conflict, match="boat-1 is completed"):
        client.cancel("boat-1")


def test_a_cancel_whose_answer_was_lost_has_succeeded(client: Client, service: FakeService) -> None:
    job = client.enqueue(REQUEST)
    service.faults.append(Fault(after=True))
    assert client.cancel(job.id).status is Status.CANCELLED


@pytest.mark.parametrize("fault", [{"after": True}, {"status": 503, "after": True}], ids=["cut", "503"])
def test_a_retry_is_sent_once(client: Client, service: FakeService, fault: dict[str, Any]) -> None:
    job = client.enqueue(REQUEST)
    client.cancel(job.id)
    service.faults.append(Fault(**fault))
    with pytest.raises(ServiceUnavailable):
        client.retry(job.id)
    assert service.paths().count(f"POST /v1/jobs/{job.id}/retry") == 1


def test_ids_are_quoted_in_paths(client: Client, service: FakeService) -> None:
    with pytest.raises(NotFound, match=r"no job a/b\?c~2"):
        client.job("a/b?c~2")
    for nonsense in ("", ".", ".."):
        with pytest.raises(UsageError, match="not an id"):
            client.job(nonsense)
    assert len(service.seen) == 1


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        pytest.param({"prompt": float("nan")}, "The request cannot be written as JSON", id="nan"),
        pytest.param({"cost": Decimal(1)}, "Decimal", id="decimal"),
        pytest.param(["a"], "Pass a mapping", id="list"),
    ],
)
def test_values_that_json_cannot_hold_are_never_sent(
    client: Client, service: FakeService, request_: Any, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        client._transport.post("/v1/jobs", request_)
    assert service.seen == []


def test_an_unreachable_service_is_an_error(service: FakeService) -> None:
    with Client("http://127.0.0.1:1", "k", retries=1, backoff=0) as client, pytest.raises(ServiceUnavailable) as caught:
        client.enqueue(REQUEST)
    assert "Check BOOMERANG_URL" in str(caught.value)
    assert caught.value.repeat_id


@pytest.mark.parametrize("retries", [0, 1])
def test_a_service_that_does_not_answer_is_an_error(service: FakeService, retries: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, "k", (1, 0.05), retries=retries, backoff=0) as client,
            pytest.raises(ServiceUnavailable, match="did not answer in time"),
        ):
            client.job("a")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"BOOMERANG_KEY": "k"}, "BOOMERANG_URL is not set", id="no-url"),
        pytest.param({"BOOMERANG_URL": "http://a"}, "BOOMERANG_KEY is not set", id="no-key"),
        pytest.param({"BOOMERANG_URL": "a.example", "BOOMERANG_KEY": "k"}, "not a URL", id="no-scheme"),
        pytest.param({"BOOMERANG_URL": "http://a:x", "BOOMERANG_KEY": "k"}, "not a URL", id="bad-port"),
        pytest.param({"BOOMERANG_URL": "http://u:p@a", "BOOMERANG_KEY": "k"}, "must not have a user", id="user"),
        pytest.param({"BOOMERANG_URL": "http://a", "BOOMERANG_KEY": "secret\nX-A: 1"}, "Copy it again", id="bad-key"),
    ],
)
def test_invalid_settings_are_errors(settings: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Client(environ=settings)
    assert "secret" not in str(caught.value)


def test_the_key_is_never_shown(client: Client, service: FakeService) -> None:
    job = client.enqueue(REQUEST)
    service.faults.append(Fault(status=500))
    with pytest.raises(BoomerangError) as caught:
        client.job(job.id)
    assert service.seen[-1].headers["authorization"] == "Bearer test-key-3f9a1c"
    for text in (repr(client), repr(job), repr(caught.value), str(caught.value)):
        assert "test-key" not in text


def test_a_wrong_key_is_reported(service: FakeService) -> None:
    with Client(key="another") as client, pytest.raises(Unauthorized, match="key is not known"):
        client.job("boat-1")


def test_netrc_and_proxies_of_the_environment_are_not_used(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("default login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with Client(retries=0) as client:
        assert client.enqueue(REQUEST).id
