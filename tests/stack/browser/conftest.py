"""A browser and the whole service, which the tests of a file share."""

from collections.abc import Iterator

import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed")

from playwright.sync_api import Browser, BrowserContext, ViewportSize

from ops.local.stack import LocalStack, Options
from ops.screenshots import chromium
from tests.support.dashboard import Watch

FAULTS = "--seed 7 --latency 0.2-0.8 --fail-permanent 0.2"
SETTINGS = {"BOOMERANG_MAX_IN_FLIGHT": "6", "BOOMERANG_POLL_FIRST": "2", "BOOMERANG_POLL_MAX": "3"}
SCREEN: ViewportSize = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    if chromium.find() is None:
        pytest.skip(f"no browser: none of {', '.join(chromium.NAMES)} is on the PATH")
    options = Options(
        folder=tmp_path_factory.mktemp("dashboard"), flower=False, simulator=FAULTS, settings=SETTINGS, warnings=False
    )
    with LocalStack(options, lambda *_: None) as running:
        yield running


@pytest.fixture(scope="module")
def browser(stack: LocalStack) -> Iterator[Browser]:
    with chromium.running(chromium.find() or "") as running:
        yield running


@pytest.fixture(scope="module")
def session(browser: Browser, stack: LocalStack) -> Iterator[BrowserContext]:
    """A browser that is logged in as an administrator."""
    with browser.new_context(viewport=SCREEN) as context:
        page = context.new_page()
        chromium.log_in(page, stack.url, stack.key)
        page.close()
        yield context


@pytest.fixture
def watch(stack: LocalStack) -> Iterator[Watch]:
    """What a page may not do. At the end, it has done nothing of it."""
    watching = Watch(stack.url)
    yield watching
    assert watching.problems == []
