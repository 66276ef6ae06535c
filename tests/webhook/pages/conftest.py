"""Browsers of people who have logged in to the pages."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import PRODUCER, KeyRing, Scope
from jobs.job import Result
from jobs.new_job import NewJob
from jobs.producer_ids import internal_id
from jobs.states import State
from jobs.store.store import Store
from tests.support.browser import log_in
from webhook.app import create_app
from webhook.settings import Settings

SESSION_SECRET = "a-session-secret-for-tests"


@pytest.fixture
def pages(settings: Settings, store: Store) -> Flask:
    """The app with the producer `shop`, whose secret is `one`, and an administrator."""
    return create_app(replace(settings, api_keys=("shop:one",), session_secret=SESSION_SECRET), store)


@pytest.fixture
def person(pages: Flask) -> FlaskClient:
    """A browser without a session."""
    return pages.test_client()


@pytest.fixture
def log_in_as(pages: Flask, store: Store) -> Callable[..., FlaskClient]:
    """Return `log_in_as("shop", Scope.READ)`, which makes a key and returns a browser that is logged in with it.

    Without scopes, it is a producer's key.
    """
    ring = KeyRing(store.context.client, store.context.keys)

    def enter(name: str = "shop", *scopes: Scope) -> FlaskClient:
        _, secret = ring.add(name, scopes or PRODUCER)
        browser = pages.test_client()
        assert log_in(browser, secret).status_code == 303
        return browser

    return enter


@pytest.fixture
def admin(log_in_as: Callable[..., FlaskClient]) -> FlaskClient:
    """A browser that is logged in as an administrator."""
    return log_in_as("boss", Scope.ADMIN)


@pytest.fixture
def shop(log_in_as: Callable[..., FlaskClient]) -> FlaskClient:
    """A browser that is logged in as the producer `shop`."""
    return log_in_as("shop")


@pytest.fixture
def finish(store: Store) -> Callable[..., None]:
    """Return `finish("id", "0.0065", owner="shop")`, which makes a job and completes it at this cost in USD.

    Without one, the cost is unknown."""

    def end(job_id: str, cost: str | None, owner: str = "shop") -> None:
        text = '{"model":"kirin_image_omni","params":{"prompt":"a fox"}}'
        known = internal_id(job_id, owner)
        store.jobs.enqueue([NewJob(id=known, text=text, model="kirin_image_omni", owner=owner)])
        assert known in store.attempts.admit(1000).ids
        (claim,) = store.attempts.claim([known])
        unreadable = "a lot" if cost is None else None
        result = Result(
            output=({"type": "image", "url": "https://cdn.example.com/1.png"},),
            cost=None if cost is None else Decimal(cost),
            unreadable_cost=unreadable,
        )
        store.attempts.finish(known, State.COMPLETED, result, "poll", fence=claim.fence)

    return end


@pytest.fixture
def commands(raw: redis.Redis) -> Callable[[], int]:
    """Return `commands()`, how many commands Redis has processed, without those of this fixture."""
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return int(raw.info("stats")["total_commands_processed"]) - calls

    return count
