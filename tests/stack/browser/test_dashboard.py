"""The dashboard in a real browser, on the whole service with jobs of the demo."""

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("playwright", reason="the package playwright is not installed")

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect
from werkzeug.routing import Map

from boomerang_client import Client
from ops.demo.demo_jobs import make_jobs
from ops.local.stack import LocalStack
from tests.support.dashboard import Watch, outline, too_wide, violations, walk
from webhook.app import create_app
from webhook.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
PHONE: ViewportSize = {"width": 390, "height": 844}
SCREEN: ViewportSize = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def finished(stack: LocalStack) -> str:
    """A batch of jobs that have all ended. Some have failed."""
    with Client(stack.url, stack.key) as client:
        batch = client.enqueue_batch([job.request for job in make_jobs("dashboard", 16, seed=7)], id="dashboard").id
        client.wait(batch, timeout=60, every=0.2)
    return batch


@pytest.fixture
def page(session: BrowserContext, watch: Watch, finished: str) -> Iterator[Page]:
    with session.new_page() as opened:
        yield watch.on(opened)


@pytest.fixture(scope="module")
def urls() -> Map:
    return create_app(Settings(api_keys=("shop:one",))).url_map


@pytest.fixture(scope="module")
def addresses(session: BrowserContext, stack: LocalStack, finished: str, urls: Map) -> dict[str, str]:
    """Each page's addresses by name, found by following links from the overview."""
    return walk(session, stack.url, urls)


def test_every_page_is_accessible_in_both_themes_quiet_and_fits_a_phone(
    page: Page, watch: Watch, stack: LocalStack, addresses: dict[str, str]
) -> None:
    found: list[str] = []
    for name, path in addresses.items():
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(SCREEN)
        page.goto(stack.url + path)
        problems = violations(page)
        page.emulate_media(color_scheme="dark")
        problems += [f"dark: {each}" for each in violations(page, "color-contrast")]
        page.set_viewport_size(PHONE)
        problems += [f"phone: {each}" for each in too_wide(page)]
        problems += watch.taken()
        found += [f"{name} ({path}): {each}" for each in problems]
    assert not found, "\n".join(found)
    assert len(addresses) >= 3


def test_every_page_shows_the_same_without_scripts(
    browser: Browser, session: BrowserContext, page: Page, stack: LocalStack, addresses: dict[str, str]
) -> None:
    state = session.storage_state()
    with browser.new_context(java_script_enabled=False, storage_state=state) as plain, plain.new_page() as without:
        for name, path in addresses.items():
            without.goto(stack.url + path)
            page.goto(stack.url + path)
            headings, rows = outline(without)
            assert (headings, rows) == outline(page), name
            assert headings, name


def test_every_page_without_parameters_is_reached_by_links(urls: Map, addresses: dict[str, str]) -> None:
    reached = {name.partition(" ")[0] for name in addresses}
    every = {
        rule.endpoint
        for rule in urls.iter_rules()
        if rule.endpoint.startswith("pages.")
        and "GET" in (rule.methods or ())
        and not rule.arguments
        and not rule.rule.startswith("/files/")  # downloads
    }
    # The login is reached by logging out; a browser asks for the icon by itself.
    assert every - reached <= {"pages.login", "pages.favicon"}, every - reached


def test_the_switch_and_the_system_give_the_same_colours(page: Page, stack: LocalStack) -> None:
    def colours() -> list[str]:
        expect(page.locator(".top")).to_be_visible()  # also after a button that loads the page again
        names = "(names) => names.map((n) => getComputedStyle(document.querySelector(n)).backgroundColor)"
        return list(page.evaluate(names, ["body", ".top"]))

    page.goto(stack.url)
    page.emulate_media(color_scheme="dark")
    dark = colours()
    page.get_by_role("button", name="light").click()
    light = colours()
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="dark").click()
    assert colours() == dark != light
    page.get_by_role("button", name="system").click()
    assert colours() == light


def test_the_keyboard_reaches_everything(page: Page, stack: LocalStack) -> None:
    page.goto(stack.url)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    for link in page.locator(".top a[data-key]").all():
        key, path = link.get_attribute("data-key"), link.get_attribute("href")
        page.keyboard.press("g")
        with page.expect_navigation(url=f"{stack.url}{path}"):
            page.keyboard.press(str(key))
        page.go_back()


def test_rows_and_the_search_are_reached_by_keys(page: Page, stack: LocalStack, addresses: dict[str, str]) -> None:
    walked = searched = 0
    for path in addresses.values():
        page.goto(stack.url + path)
        rows = page.locator("main tbody tr:visible, [data-row]:visible")
        if rows.count() >= 2:
            page.keyboard.press("j")
            expect(rows.nth(0)).to_be_focused()
            page.keyboard.press("j")
            expect(rows.nth(1)).to_be_focused()
            page.keyboard.press("k")
            expect(rows.nth(0)).to_be_focused()
            walked += 1
        search = page.locator("main input[type=search]:visible")
        if search.count():
            page.keyboard.press("/")
            expect(search.first).to_be_focused()
            page.keyboard.type("j?")
            expect(search.first).to_have_value("j?")
            searched += 1
        if walked and searched:
            return
    assert walked


@pytest.fixture
def live(page: Page, watch: Watch, stack: LocalStack) -> Callable[[int], int]:
    """Return `live(seconds)`, which lets the time of the open page pass, and returns how often it asked for parts."""
    page.clock.install()
    page.goto(stack.url)

    def passes(seconds: int) -> int:
        before = len(watch.parts)
        page.clock.run_for(seconds * 1000)
        return len(watch.parts) - before

    return passes


def test_a_page_is_kept_up_to_date_until_its_updates_are_paused(page: Page, live: Callable[[int], int]) -> None:
    assert live(20) > 0
    page.keyboard.press("p")
    assert live(60) == 0
    page.get_by_role("button", name="Go on with updates").click()
    assert live(20) > 0


def test_a_page_in_the_background_asks_for_nothing(page: Page, live: Callable[[int], int]) -> None:
    hide = "(hidden) => Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true})"
    page.evaluate(hide, True)
    assert live(60) == 0
    page.evaluate(hide, False)
    assert live(20) > 0


def test_nothing_is_replaced_under_the_pointer_or_the_focus(page: Page, live: Callable[[int], int]) -> None:
    parts = page.locator("[data-live]")
    only = parts.filter(has=page.locator("a:visible")).first
    link = only.locator("a:visible").first
    link.evaluate("(element) => { element.dataset.same = 'yes'; }")
    link.hover()
    live(60)
    assert link.get_attribute("data-same") == "yes"
    page.mouse.move(0, 0)
    link.focus()
    live(60)
    expect(link).to_be_focused()
    assert link.get_attribute("data-same") == "yes"
    link.blur()
    live(60)
    expect(only.locator("a:visible").first).not_to_have_attribute("data-same", "yes")
