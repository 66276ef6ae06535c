"""`python -m ops.screenshots`: write a picture of each page of the dashboard in both themes, from the demo's jobs."""

import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize

from boomerang_client import Client
from ops.commands.local import FAULTS
from ops.demo.demo_jobs import make_jobs
from ops.demo.run import SETTINGS
from ops.local.stack import LocalStack, Options
from ops.screenshots import chromium
from ops.screenshots.receivers import receivers

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images" / "dashboard"
#: CSS pixels. Pictures of long pages end there.
SIZE: ViewportSize = {"width": 1200, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 780}
QUALITY = 70
#: The batch that has ended, one that is under way, and one that waits for money.
BATCH, NEXT, CAPPED = "autumn-catalogue", "winter-catalogue", "spring-teaser"
JOBS = 60
#: Some jobs fail for good, so that a batch has failures.
MORE = "--fail 0.1 --fail-permanent 0.08"
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
#: What a person pastes into the page of a new batch: the last line is refused.
LINES = """\
Title,Colour,n
linen jacket,sand,2
wool scarf,dark green,1
leather boots,black,1
felt hat,grey,many
"""


def take(folder: Path) -> list[Path]:
    """Run the demo's jobs, and write the pictures into this folder. Return their paths."""
    path = chromium.find()
    if path is None:
        sys.exit(f"No browser: none of {', '.join(chromium.NAMES)} is on the PATH. Install Debian's package chromium.")
    folder.mkdir(parents=True, exist_ok=True)
    for before in folder.glob("*.webp"):
        before.unlink()
    with tempfile.TemporaryDirectory(prefix="boomerang-") as temporary:
        options = Options(
            folder=Path(temporary),
            flower=False,
            simulator=f"--seed 7 {FAULTS} {MORE}",
            settings=SETTINGS,
            warnings=False,
        )
        with LocalStack(options, lambda *_: None) as stack, chromium.running(path) as browser:
            return list(_pictures(browser, stack, folder))


def _pictures(browser: Browser, stack: LocalStack, folder: Path) -> Iterator[Path]:
    with browser.new_context(viewport=SIZE, reduced_motion="reduce") as context, context.new_page() as page:
        page.goto(f"{stack.url}/login")
        yield from _picture(page, folder, "login")
        chromium.log_in(page, stack.url, stack.key)
        yield from _picture(page, folder, "overview-empty")
        with receivers() as (well, gone):
            _run_jobs(stack, well, gone)
            for name, address in _linked(page):
                page.goto(stack.url + address)
                yield from _picture(page, folder, name)
        for name, reach in _BELOW.items():
            reach(page, stack.url)
            yield from _picture(page, folder, name)
        page.set_viewport_size(PHONE)
        for name, address in (("overview-phone", "/"), ("batch-phone", f"/batches/{BATCH}")):
            page.goto(stack.url + address)
            yield from _picture(page, folder, name)


def _run_jobs(stack: LocalStack, well: str, gone: str) -> None:
    """Run a batch to its end, and begin another one. `well`, `gone`: where its ends are notified."""
    with Client(stack.url, stack.key) as client:
        requests = [job.request for job in make_jobs("demo", 2 * JOBS, seed=7)]
        # Without ids of their own, they are numbered in their batch.
        plain = [{name: value for name, value in each.items() if name != "external_task_id"} for each in requests]
        for number, each in enumerate(plain[:JOBS]):
            if number % 5 == 0:
                each["callback_url"] = gone if number % 20 == 0 else well
        client.enqueue_batch(plain[:JOBS], id=BATCH, labels={"season": "autumn"})
        client.wait(BATCH, timeout=180, every=0.5)
        # It reaches its cap at once, and needs a person.
        client.enqueue_batch(plain[:12], id=CAPPED, labels={"season": "spring"}, max_cost="0.03")
        client.enqueue_batch(plain[JOBS:], id=NEXT, labels={"season": "winter"}, max_cost="1.50")


def _linked(page: Page) -> list[tuple[str, str]]:
    """Return the names and addresses of the pages in the navigation."""
    links = page.locator('.top nav a:not([href="/docs"])').all()
    return [(re.sub(r"\W+", "-", link.inner_text().lower()), link.get_attribute("href") or "") for link in links]


def _job(page: Page, url: str) -> None:
    page.goto(f"{url}/jobs?status=completed&batch={BATCH}")
    page.locator('main tbody a[href*="/jobs/"]').first.click()
    page.get_by_role("heading", name="Timeline").wait_for()


def _lightbox(page: Page, url: str) -> None:
    page.goto(f"{url}/batches/{BATCH}/images")
    page.locator("a[data-shot]").first.click()
    page.locator("#lightbox[open] img").first.wait_for()


def _check_new_batch(page: Page, url: str) -> None:
    page.goto(f"{url}/batches/~new")
    page.get_by_label("Or paste lines").fill(LINES)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Prompt from several columns").fill("a photo of a {Title}, {Colour}")
    page.get_by_role("button", name="Check the lines").click()
    page.get_by_role("heading", name="Quote").wait_for()


def _count_bulk(page: Page, url: str) -> None:
    page.goto(f"{url}/jobs?batch={CAPPED}")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("heading", name="Which jobs").wait_for()


#: Name of a picture → how to reach its page.
_BELOW: dict[str, Callable[[Page, str], object]] = {
    "batch": lambda page, url: page.goto(f"{url}/batches/{BATCH}"),
    "gallery": lambda page, url: page.goto(f"{url}/batches/{BATCH}/images"),
    "lightbox": _lightbox,
    "job": _job,
    "lane": lambda page, url: page.goto(f"{url}/lanes/default"),
    "new-batch": lambda page, url: page.goto(f"{url}/batches/~new"),
    "new-batch-check": _check_new_batch,
    "bulk": _count_bulk,
    "error": lambda page, url: page.goto(f"{url}/jobs/no-such-job"),
}


def _picture(page: Page, folder: Path, name: str) -> Iterator[Path]:
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.wait_for_load_state("networkidle")
        path = folder / f"{name}-{theme}.webp"
        with Image.open(io.BytesIO(page.screenshot(animations="disabled"))) as image:
            image.convert("RGB").save(path, quality=QUALITY, method=6)
        yield path


def main() -> None:
    """Write the pictures of the documentation."""
    for path in take(FOLDER):
        print(f"{path.stat().st_size // 1024:>4} kB  {path.relative_to(FOLDER.parents[2])}")  # noqa: T201 - its output


if __name__ == "__main__":
    main()
