"""What browser tests of the dashboard have in common: one address for each page, what a page did, and axe."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from webhook.access.scopes import PAGES_BLUEPRINT

#: How many addresses of one page are opened. Two: a batch that has ended, and one that has not.
MOST = 2
#: Links from the start page to the last page that is opened.
DEPTH = 4


def endpoint_of(urls: Map, path: str) -> str | None:
    """Return the endpoint of the page at this path; None if there is none."""
    try:
        endpoint, _ = urls.bind("").match(path, method="GET")
    except HTTPException:
        return None
    return str(endpoint) if str(endpoint).startswith(f"{PAGES_BLUEPRINT}.") else None


def walk(context: BrowserContext, url: str, urls: Map, starts: Iterable[str] = ("/",)) -> dict[str, str]:
    """Follow the links of all pages. Return addresses by name: each page with at most `MOST` of its own addresses."""
    found: dict[str, str] = {}
    times: dict[str, int] = {}
    level = list(starts)
    for _ in range(DEPTH):
        following: list[str] = []
        for path in level:
            endpoint = endpoint_of(urls, path.partition("?")[0])
            if endpoint is None or path in found.values() or times.get(endpoint, 0) >= MOST:
                continue
            answer = context.request.get(url + path)
            if not answer.headers.get("content-type", "").startswith("text/html"):
                continue
            assert answer.ok, (path, answer.status)
            times[endpoint] = times.get(endpoint, 0) + 1
            found[f"{endpoint} {times[endpoint]}"] = path
            following += _links(answer.text(), url, path)
        level = following
    return found


def _links(text: str, url: str, path: str) -> list[str]:
    addresses = [urljoin(url + path, unescape(each)) for each in re.findall(r'<a\b[^>]*?\shref="([^"#]+)', text)]
    parts = [urlsplit(each) for each in addresses if each.startswith(f"{url}/")]
    return [each.path + (f"?{each.query}" if each.query else "") for each in parts]


@dataclass
class Watch:
    """What went wrong on a page: errors in the console, breaches of the policy, requests elsewhere, answers ≥ 400."""

    url: str
    problems: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    """Requests of htmx, by path."""

    def on(self, page: Page) -> Page:
        """Watch this page from now on, and return it."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)
        return page

    def taken(self) -> list[str]:
        """Return the problems since the last call."""
        found, self.problems = self.problems, []
        return found

    def refused(self, page: Page, status: int) -> None:
        """Expect that an answer had this status, and nothing else was wrong since the last call."""
        page.evaluate("0")  # what the page has reported by now has arrived
        found = self.taken()
        assert any(each.startswith(f"answer {status}") for each in found), found
        others = [each for each in found if f"answer {status}" not in each and f"status of {status}" not in each]
        assert others == []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.problems.append(f"elsewhere: {request.url}")
        if "hx-request" in request.headers:
            self.parts.append(urlsplit(request.url).path)

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"answer {response.status}: {response.url}")


def violations(page: Page, *rules: str) -> list[str]:
    """Return what axe finds on the page that is open, by all its rules or these."""
    # Colours that still change to the other theme's are neither's.
    # A live part that is replaced cancels its animations, which rejects their promises.
    page.evaluate("() => Promise.allSettled(document.getAnimations().map((each) => each.finished))")
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for each in found
        for node in each["nodes"][:3]
    ]


def sound(page: Page) -> None:
    """Expect that axe finds nothing on the open page in both themes, and that it fits its window."""
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    found += [f"dark: {each}" for each in violations(page, "color-contrast")]
    page.emulate_media(color_scheme="light")
    assert found + too_wide(page) == []


def too_wide(page: Page) -> list[str]:
    """Return the width that the page needs, if it must be moved sideways, and what needs it."""
    culprits: Callable[[str], Any] = page.evaluate
    return list(
        culprits("""() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            const wide = [...document.querySelectorAll("body *")]
                .filter((each) => each.getBoundingClientRect().right > width + 1 && !each.closest(".unseen"))
                .slice(0, 5).map((each) => `${each.tagName}.${each.className} ${each.textContent.trim().slice(0, 40)}`);
            return [`${document.documentElement.scrollWidth} px`, ...wide];
        }""")
    )


def outline(page: Page) -> tuple[list[str], int]:
    """Return the headings that are visible on the page, and the number of rows of its tables."""
    headings = [each.inner_text() for each in page.locator("main :is(h1, h2):visible").all()]
    return headings, page.locator("main tbody tr:visible").count()
