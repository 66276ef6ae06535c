"""`python -m ops.screenshots`: write a picture of each page of the dashboard in both themes, from the demo's jobs."""

import io
import re
import sys
import tempfile
from collections.abc import Iterator
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

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images" / "dashboard"
#: CSS pixels. Pictures of long pages end there.
SIZE: ViewportSize = {"width": 1200, "height": 800}
QUALITY = 70
#: The batch that has ended, and one that is under way.
BATCH, NEXT = "autumn-catalogue", "winter-catalogue"
JOBS = 60
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


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
            folder=Path(temporary), flower=False, simulator=f"--seed 7 {FAULTS}", settings=SETTINGS, warnings=False
        )
        with LocalStack(options, lambda *_: None) as stack, chromium.running(path) as browser:
            _run_jobs(stack)
            return list(_pictures(browser, stack, folder))


def _run_jobs(stack: LocalStack) -> None:
    with Client(stack.url, stack.key) as client:
        requests = [job.request for job in make_jobs("demo", 2 * JOBS, seed=7)]
        # Without ids of their own, they are numbered in their batch.
        plain = [{name: value for name, value in each.items() if name != "external_task_id"} for each in requests]
        client.enqueue_batch(plain[:JOBS], id=BATCH)
        client.wait(BATCH, timeout=180, every=0.5)
        client.enqueue_batch(plain[JOBS:], id=NEXT)


def _pictures(browser: Browser, stack: LocalStack, folder: Path) -> Iterator[Path]:
    with browser.new_context(viewport=SIZE, reduced_motion="reduce") as context, context.new_page() as page:
        page.goto(f"{stack.url}/login")
        yield from _picture(page, folder, "login")
        chromium.log_in(page, stack.url, stack.key)
        for name, address in _pages(page, stack):
            page.goto(stack.url + address)
            yield from _picture(page, folder, name)


def _pages(page: Page, stack: LocalStack) -> list[tuple[str, str]]:
    """Return the names and addresses of the pages in the navigation, and of some below them."""
    links = page.locator('.top nav a:not([href="/docs"])').all()
    found = [(re.sub(r"\W+", "-", link.inner_text().lower()), link.get_attribute("href") or "") for link in links]
    below = [("batch", f"/batches/{BATCH}"), ("gallery", f"/batches/{BATCH}/images")]
    for name, address, link_to in (("image", below[1][1], "/images/"), ("job", "/jobs?status=completed", "/jobs/")):
        page.goto(stack.url + address)
        first = page.locator(f'main a[href*="{link_to}"]:visible').first
        below.append((name, (first.get_attribute("href") or "").removeprefix(stack.url)))
    return [*found, *below]


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
