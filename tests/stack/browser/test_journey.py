"""What a product manager and an operator do in a day, in a real browser against the whole service."""

import re
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import requests

pytest.importorskip("playwright", reason="the package playwright is not installed")

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from boomerang_client import Client
from ops.local.stack import LocalStack
from ops.screenshots import chromium
from tests.support.dashboard import Watch, sound, too_wide

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
#: Milliseconds for what the service does in the background, such as all jobs of a batch.
WORK = 60_000
SCREEN: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
MODEL = "kirin_image_omni"
#: HTML, right-to-left letters and their override, an emoji, an ampersand, quotes, a path.
HOSTILE_NAME = "<img src=x onerror=alert(1)>\u202egnp.\u05d0\u05d1 \U0001f98a & \"q\" 'p' ..%2f.csv"


@pytest.fixture
def page(session: BrowserContext, watch: Watch) -> Iterator[Page]:
    with session.new_page() as opened:
        yield watch.on(opened)


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.url, stack.key) as opened:
        yield opened


@pytest.fixture
def provider(stack: LocalStack) -> Iterator[Callable[..., None]]:
    """Return `provider(fail_permanent=1)`, which changes what the provider does. It begins without faults."""

    def become(**faults: float) -> None:
        address = f"{stack.plan.url('simulator')}/_sim/faults"
        assert requests.put(address, json=faults, timeout=10).ok

    become(fail_permanent=0)
    yield become
    become(fail_permanent=0.2, lost_answers=0, status_down=0, drop_callbacks=0)


def batch_of(client: Client, count: int) -> str:
    """Enqueue a batch and return its id."""
    name = f"journey-{uuid4().hex[:8]}"
    requests_ = [
        {"model": MODEL, "prompt": f"a fox {each}", "external_task_id": f"{name}-{each}"} for each in range(count)
    ]
    return client.enqueue_batch(requests_, id=name).id


def finished(client: Client, count: int) -> str:
    batch = batch_of(client, count)
    client.wait(batch, timeout=60, every=0.2)
    return batch


def csv_of(count: int, prefix: str) -> bytes:
    rows = [f'"Fox, {each}",a fox <b>{each}</b> \u202e \u05d0,{prefix}-{each}' for each in range(count)]
    return "\r\n".join(["Title,What to draw,Article", *rows, "Nothing,,", ""]).encode()


def upload(page: Page, stack: LocalStack, data: bytes, name: str) -> None:
    page.goto(f"{stack.url}/batches/~new")
    page.get_by_label("File", exact=True).set_input_files({"name": name, "mimeType": "text/csv", "buffer": data})
    page.get_by_role("button", name="Continue").click()


def fill_columns(page: Page) -> None:
    page.get_by_label("What to draw").select_option("prompt")
    page.get_by_label("Article").select_option("external_task_id")
    page.get_by_label("Model", exact=True).select_option(MODEL)


def test_a_file_becomes_images_that_are_reviewed_by_keyboard(
    browser: Browser, stack: LocalStack, watch: Watch, provider: Callable[..., None]
) -> None:
    with browser.new_context(viewport=SCREEN) as context:
        page = watch.on(context.new_page())
        log_in_at_the_second_try(page, watch, stack)
        map_and_check_a_file(page, watch, stack)
        change_the_theme_within_the_form(page)
        run_a_pilot_and_approve(page)
        review_by_keyboard(page)
        log_out(page)


def log_in_at_the_second_try(page: Page, watch: Watch, stack: LocalStack) -> None:
    """Log in with a wrong key, then with the right one."""
    page.goto(f"{stack.url}/batches")
    page.get_by_label("Your key").fill("bmr_000000000000_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    watch.refused(page, 401)
    sound(page)
    page.get_by_label("Your key").fill(stack.key)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{stack.url}/batches")


def map_and_check_a_file(page: Page, watch: Watch, stack: LocalStack) -> None:
    """Upload a file, say what its columns are, and correct what is refused."""
    page.get_by_role("link", name="New batch").first.click()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_be_visible()
    watch.refused(page, 422)
    sound(page)
    prefix = uuid4().hex[:8]
    upload(page, stack, csv_of(6, prefix), HOSTILE_NAME)
    expect(page.get_by_text(HOSTILE_NAME)).to_be_visible()
    expect(page.get_by_role("link", name="Batches")).to_have_attribute("aria-current", "page")
    page.get_by_role("button", name="Check the lines").click()
    expect(page.get_by_role("row", name="2–8 model: is required")).to_be_in_viewport()
    fill_columns(page)
    page.get_by_label("Labels").fill("campaign=<i>autumn</i>\nno label")
    page.get_by_role("button", name="Check again").click()
    expect(page.locator("#h-labels.wrong")).to_be_visible()
    watch.refused(page, 422)
    sound(page)
    page.get_by_label("Labels").fill("campaign=<i>autumn</i>")
    page.get_by_role("button", name=re.compile("^Check")).click()
    expect(page.get_by_role("button", name="Start 6 jobs")).to_be_in_viewport()
    expect(page.get_by_role("row", name="8 prompt: is required")).to_be_visible()
    sound(page)


def change_the_theme_within_the_form(page: Page) -> None:
    """Change the theme: the form keeps what is in it."""
    page.get_by_label("Jobs of the pilot").fill("2")
    page.get_by_role("button", name="dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_label("Jobs of the pilot")).to_have_value("2")
    page.get_by_role("button", name="system").click()


def run_a_pilot_and_approve(page: Page) -> None:
    """Run a pilot, approve the batch and watch its end, without a reload."""
    page.get_by_role("button", name="Start with a pilot").click()
    expect(page).to_have_url(re.compile("/batches/[^/#]+$"))
    expect(page.get_by_text("6 jobs enqueued; 1 line left out")).to_be_visible()
    expect(page.get_by_text("waits for an approval")).to_be_visible(timeout=WORK)
    sound(page)
    page.get_by_role("button", name="Approve").click()
    page.evaluate("() => { window.sameDocument = true; }")
    expect(page.get_by_label("Jobs of the batch: 6 completed of 6")).to_be_visible(timeout=WORK)
    expect(page.locator("#batch .state").first).to_have_text(re.compile("done"))
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_hidden()
    expect(page.get_by_role("button", name="Set the cap")).to_be_hidden()
    assert page.evaluate("window.sameDocument")
    sound(page)


def review_by_keyboard(page: Page) -> None:
    """Walk through the gallery, and accept, star and reject images in the lightbox."""
    page.get_by_role("link", name="Gallery", exact=True).click()
    shots = page.locator("a[data-shot]")
    expect(shots).to_have_count(6)
    page.keyboard.press("ArrowRight")
    expect(shots.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(shots.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    box = page.get_by_role("dialog", name="Image 2 of 6")
    expect(box).to_be_visible()
    expect(box.get_by_text("a fox <b>1</b>")).to_be_visible()
    for fact in ("Model", "Cost", "Attempts"):
        expect(box.locator("dt", has_text=fact)).to_be_visible()
    expect(box.locator("time").first).not_to_have_attribute("title", re.compile(r"^\d{4}-"))  # as a script writes it
    is_loaded = "image => image.complete && image.naturalWidth > 256"
    page.wait_for_function(is_loaded, arg=box.locator(".picture img").element_handle(), timeout=WORK)
    assert box.locator("dd").first.bounding_box()["width"] > 100
    sound(page)
    page.keyboard.press("a")
    expect(box.get_by_text("The review is recorded.")).to_be_visible()
    page.keyboard.press("s")
    expect(box.locator(".marks")).to_have_text(re.compile("accepted ★"))
    page.keyboard.press("ArrowRight")
    box = page.get_by_role("dialog", name="Image 3 of 6")
    expect(box).to_be_visible()
    box.get_by_label("Reject").check()
    box.get_by_label("Note").fill("Six toes <b> \u05d0")
    page.keyboard.press("ArrowLeft")  # within the text
    box.get_by_role("button", name="Save the review").click()
    expect(box.get_by_text("The review is recorded.")).to_be_visible()
    expect(box.get_by_label("Note")).to_have_value("Six toes <b> \u05d0")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(shots.nth(2)).to_be_focused()
    expect(page.locator(".shot").nth(1)).to_have_class("shot accepted")
    expect(page.locator(".shot").nth(2).locator(".marks")).to_have_text(re.compile("rejected"))
    page.get_by_role("link", name="rejected").click()
    expect(shots).to_have_count(1)
    sound(page)


def log_out(page: Page) -> None:
    """Log out; the button Back then shows nothing."""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Your key")).to_be_focused()
    page.go_back()
    page.reload()
    expect(page.get_by_label("Your key")).to_be_visible()


def test_the_button_back_closes_an_image_and_returns_to_it(
    page: Page, stack: LocalStack, client: Client, provider: Callable[..., None]
) -> None:
    batch = finished(client, 3)
    page.goto(f"{stack.url}/batches/{batch}")
    page.get_by_role("link", name="Gallery", exact=True).click()
    page.locator("a[data-shot]").nth(1).click()
    box = page.get_by_role("dialog")
    expect(box.get_by_label("Image 1 of job")).to_be_visible()
    box.get_by_role("button", name="Next").click()
    expect(page.get_by_role("dialog", name="Image 3 of 3")).to_be_visible()
    expect(box.get_by_role("button", name="Next")).to_be_disabled()
    box.get_by_role("link", name="Generate once more…").click()
    expect(page).to_have_url(re.compile("/jobs/.*#regenerate$"))
    page.go_back()
    expect(page.get_by_role("dialog", name="Image 3 of 3")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(re.compile("/images$"))
    page.set_viewport_size(PHONE)
    page.locator("a[data-shot]").first.click()
    expect(box.get_by_label("Image 1 of job")).to_be_visible()
    assert too_wide(page) == []
    box.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.set_viewport_size(SCREEN)


def test_failures_are_retried_by_class_and_a_moderated_job_is_corrected(
    page: Page, watch: Watch, stack: LocalStack, client: Client, provider: Callable[..., None]
) -> None:
    provider(fail_permanent=1)
    batch = finished(client, 3)
    page.goto(f"{stack.url}/batches/{batch}")
    expect(page.get_by_label("Jobs of the batch: 3 failed of 3")).to_be_visible()
    sound(page)

    page.locator("main").get_by_role("link", name=f"{batch}-0").first.click()
    page.get_by_label("Request, as JSON").fill("{")
    page.get_by_role("button", name="Correct and retry").click()
    expect(page.get_by_label("Request, as JSON")).to_have_value("{")
    expect(page.locator("#correct .message.problem")).to_be_in_viewport()
    watch.refused(page, 422)
    sound(page)
    provider(fail_permanent=0)
    page.get_by_label("Request, as JSON").fill('{"model": "kirin_image_omni", "prompt": "a calm fox"}')
    page.get_by_role("button", name="Correct and retry").click()
    expect(page.get_by_text("it waits with the new request")).to_be_visible()
    expect(page.locator("#job .state.completed").first).to_be_visible(timeout=WORK)
    expect(page.get_by_role("heading", name="Earlier revisions of the request")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    sound(page)

    page.goto(f"{stack.url}/batches/{batch}")
    page.get_by_role("button", name="Retry the class").dblclick()
    expect(page.get_by_text(f"Retrying 2 jobs of batch {batch}.")).to_be_visible()
    expect(page.get_by_label("Jobs of the batch: 3 completed of 3")).to_be_visible(timeout=WORK)
    expect(page.get_by_role("button", name="Retry the class")).to_be_hidden()


def test_a_job_in_doubt_is_settled(
    page: Page, watch: Watch, stack: LocalStack, client: Client, provider: Callable[..., None]
) -> None:
    provider(lost_answers=1, status_down=1, drop_callbacks=1)
    batch = batch_of(client, 1)
    job = f"{batch}-0"
    page.goto(f"{stack.url}/jobs/{job}@local")
    expect(page.locator("#job .state.in_doubt").first).to_be_visible(timeout=WORK)
    sound(page)
    page.get_by_role("link", name="you settle it…").click()
    sent = page.locator("section", has=page.get_by_role("heading", name="The provider has the task"))
    sound(page)
    sent.get_by_label("Task id at the provider").fill(" ")
    sent.get_by_role("checkbox").check()
    sent.get_by_role("button").click()
    expect(page.locator(".wrong")).to_be_visible()
    watch.refused(page, 422)
    sound(page)
    known = requests.get(f"{stack.plan.url('simulator')}/_sim/tasks?external_task_id={job}@local", timeout=10).json()
    (task,) = known["tasks"] if isinstance(known, dict) else known
    provider(lost_answers=0, status_down=0, drop_callbacks=0)
    sent.get_by_label("Task id at the provider").fill(task["id"])
    sent.get_by_role("checkbox").check()
    sent.get_by_role("button").click()
    expect(page.get_by_role("status")).to_be_visible()
    page.goto(f"{stack.url}/jobs/{job}@local")
    expect(page.locator("#job .state.completed").first).to_be_visible(timeout=WORK)


def test_a_limit_is_changed_and_a_key_is_made_and_revoked(page: Page, watch: Watch, stack: LocalStack) -> None:
    page.goto(f"{stack.url}/lanes")
    page.locator("main tbody a").first.click()
    page.get_by_label("Slots", exact=True).fill("many")
    page.get_by_role("button", name="Change limits").click()
    expect(page.locator(".wrong")).to_be_visible()
    watch.refused(page, 422)
    sound(page)
    page.get_by_label("Slots", exact=True).fill("5")
    page.get_by_label("Why").first.fill("A calm evening <b>")
    page.get_by_role("button", name="Change limits").click()
    expect(page.get_by_text("Changed the limits of lane")).to_be_visible()
    expect(page.get_by_role("cell", name="A calm evening <b>")).to_be_visible()
    sound(page)
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_text("has its configured")).to_be_visible()

    page.goto(f"{stack.url}/keys")
    page.get_by_label("Producer").fill("press")
    page.get_by_label("Days until it expires").fill("never")
    page.get_by_role("button", name="Make key").click()
    expect(page.locator(".wrong")).to_be_visible()
    watch.refused(page, 422)
    sound(page)
    page.get_by_label("Days until it expires").fill("3")
    page.get_by_role("button", name="Make key").dblclick()
    secret = page.locator("#secret").inner_text()
    sound(page)
    made = secret.split("_")[1]
    page.reload()  # sends the form again
    expect(page.get_by_text("was made already")).to_be_visible()
    rows = page.get_by_role("row", name="press")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(made)
    with page.context.browser.new_context() as context:
        theirs = context.new_page()
        chromium.log_in(theirs, stack.url, secret)
        rows.get_by_role("link", name="Revoke…").click()
        sound(page)
        page.get_by_role("button", name=f"Revoke key {made}").click()
        expect(page.get_by_role("row", name="press")).to_contain_text("revoked")
        theirs.wait_for_timeout(1100)  # a webhook knows a key for a second
        theirs.reload()
        expect(theirs.get_by_label("Your key")).to_be_visible()
        expect(theirs.get_by_text("Your session has ended.")).to_be_visible()


def test_a_session_that_ends_in_the_middle_loses_no_work(
    browser: Browser, stack: LocalStack, watch: Watch, client: Client, provider: Callable[..., None]
) -> None:
    batch = finished(client, 2)
    with browser.new_context(viewport=SCREEN) as context:
        page = watch.on(context.new_page())
        chromium.log_in(page, stack.url, stack.key)
        page.goto(f"{stack.url}/batches/{batch}/images")
        page.locator("a[data-shot]").first.click()
        box = page.get_by_role("dialog")
        expect(box.get_by_label("Image 1 of job")).to_be_visible()
        # In a second tab, the person logs out.
        other = context.new_page()
        other.goto(stack.url)
        other.get_by_role("button", name="Log out").click()
        other.get_by_label("Your key").wait_for()
        box.get_by_label("Note").fill("A long thought")
        box.get_by_role("button", name="Save the review").click()
        expect(box.get_by_role("alert")).to_contain_text("Your session has ended")
        expect(box.get_by_label("Note")).to_have_value("A long thought")
        sound(page)
        watch.refused(page, 401)
        box.get_by_role("link", name="Log in").click()
        page.get_by_label("Your key").fill(stack.key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Image 1 of job")).to_be_visible()
        # Without a script in between: the page that the form was on comes back after the login.
        page.wait_for_load_state("networkidle")  # each answer renews the session
        context.clear_cookies(name="boomerang")
        page.get_by_role("button", name="Save the review").click()
        expect(page.get_by_text("nothing was changed")).to_be_visible()
        page.get_by_label("Your key").fill(stack.key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Image 1 of job")).to_be_visible()


@pytest.mark.usefixtures("provider")
def test_the_journey_needs_no_script(
    browser: Browser, session: BrowserContext, stack: LocalStack, watch: Watch, client: Client
) -> None:
    state = session.storage_state()
    with browser.new_context(java_script_enabled=False, storage_state=state, viewport=PHONE) as context:
        page = watch.on(context.new_page())
        prefix = uuid4().hex[:8]
        upload(page, stack, csv_of(2, prefix), HOSTILE_NAME)
        fill_columns(page)
        page.get_by_role("button", name="Check the lines").click()
        page.get_by_role("button", name="Start paused").click()
        expect(page.get_by_text("2 jobs enqueued")).to_be_visible()
        page.get_by_role("button", name="Approve").click()
        client.wait(page.url.rpartition("/")[2], timeout=60, every=0.2)
        page.reload()
        page.get_by_role("link", name="Gallery", exact=True).click()
        page.locator("a[data-shot]").first.click()
        page.get_by_label("Accept").check()
        page.get_by_role("button", name="Save the review").click()
        expect(page.get_by_text("The review is recorded.")).to_be_visible()
        expect(page.locator(".marks")).to_have_text(re.compile("accepted"))
