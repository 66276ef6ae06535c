"""Browsers of people who have logged in to the pages."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import PRODUCER, KeyRing, Scope
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
