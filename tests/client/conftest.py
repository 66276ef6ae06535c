from collections.abc import Iterator
from typing import Any

import pytest

from boomerang_client import Client, request_retries
from tests.support.command import Command
from tests.support.fake_boomerang import KEY, FakeService
from tests.support.fake_boomerang_http import served
from tests.support.openapi import Contract
from webhook.app import create_app
from webhook.settings import Settings


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    """The OpenAPI document of the service."""
    app = create_app(Settings(api_keys=(KEY,), callback_secrets=("a-callback-secret-for-tests",)))
    document: dict[str, Any] = (
        app.test_client().get("/openapi.json", headers={"Authorization": f"Bearer {KEY}"}).get_json()
    )
    return document


@pytest.fixture(scope="session")
def contract(openapi: dict[str, Any]) -> Contract:
    return Contract(openapi)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, contract: Contract) -> Iterator[FakeService]:
    """A fake service. Every request to it must match the service's OpenAPI document."""
    fake = FakeService()
    with served(fake):
        monkeypatch.setenv("BOOMERANG_URL", fake.url)
        monkeypatch.setenv("BOOMERANG_KEY", KEY)
        yield fake
    asked = {contract.problem(one.method, one.path, one.raw_query) for one in fake.seen if one.path.startswith("/v1/")}
    assert {each for each in asked if each} == set()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses, in seconds, for which the client would have slept."""
    return []


@pytest.fixture
def client(service: FakeService, pauses: list[float]) -> Iterator[Client]:
    """A client that never sleeps. Its clock advances by the pauses, and a little with each request."""

    def clock() -> float:
        return sum(pauses) + 0.25 * len(service.seen)

    with Client(service.url, KEY, backoff=0, clock=clock, sleep=pauses.append) as one:
        yield one


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, without pauses between retries."""
    monkeypatch.setattr(request_retries, "BACKOFF_MAX", 0)
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Command()
