"""Chromium as the system has it, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

#: Its names on a PATH, Debian's first.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No name has an address, so that no page can reach another machine; the same colours on every screen.
OPTIONS = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--force-color-profile=srgb")


def find() -> str | None:
    """Return the path of the browser on the PATH; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def running(path: str) -> Iterator[Browser]:
    """Run the browser at this path without a window, and without the proxies of the environment."""
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*OPTIONS], env={**environ})
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Page, url: str, key: str) -> None:
    """Log in to the dashboard at this URL with a producer's or an administrator's key."""
    page.goto(f"{url}/login")
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
