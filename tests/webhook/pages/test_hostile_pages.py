"""Text from outside that tries to be markup is text on every page, and the rest of the page stays as it is."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.store.store import Store
from tests.support.page_walk import HTMX, Document, walk
from tests.support.producer_data import Texts, fill

pytestmark = pytest.mark.slow

MARKUP = (
    "<script>evil()</script><img src=x onerror=evil()><b class=evil>\"' onmouseover=evil() x='</textarea></title>"
    "<!--{{ 7*7 }}${7*7}\x1b[2J\x1b]0;evil\x07 javascript:evil() &lt;b&gt; "
    "\U0001f98a\u200d\U0001f525 <svg/onload=evil()>"
)
REVERSED = "\u202e gnp.\u2066evil"
#: As long as a prompt may be, and without a space.
LONG = "<i>" + "W" * 2497
TEXTS = {"markup": MARKUP, "right-to-left": f"{REVERSED} שלום", "long": LONG}
#: What our own pages have.
SCHEMES = ("/", "#", "?", "https://", "http://")


def hostile(kind: str) -> Texts:
    label = TEXTS[kind][:60]
    return Texts(f"o.evil-{kind}" + "x" * 30, TEXTS[kind], label, "https://evil.example/<script>/%22onload=evil()/")


def problems(page: Document) -> list[str]:
    found = []
    for element in page.elements:
        given = element.attributes
        if element.tag == "script" and not given.get("src", "").startswith("/"):
            found.append(f"script {given}")
        if element.tag in ("b", "i", "iframe", "object", "embed", "base") or "evil" in given.get("class", ""):
            found.append(f"element {element.tag} {given}")
        found += [f"attribute {name} of {element.tag}" for name in given if name.startswith("on") or name == "style"]
        for name in ("href", "src", "action", "hx-get", "formaction"):
            if given.get(name) and not given[name].startswith(SCHEMES):
                found.append(f"address {given[name]}")
    for text, inside in page.texts:
        if REVERSED[0] in text and not any(each.attributes.get("dir") in ("auto", "ltr") for each in inside):
            found.append(f"direction of {text[:60]!r} in {[each.tag for each in inside[-3:]]}")
    return found


@pytest.fixture
def hostile_jobs(store: Store) -> None:
    for kind in TEXTS:
        fill(store, "shop", hostile(kind))


@pytest.mark.parametrize(("scopes", "headers"), [((), {}), ((Scope.ADMIN,), {}), ((Scope.ADMIN,), HTMX)])
def test_every_page_shows_hostile_text_as_text(
    scopes: tuple[Scope, ...],
    headers: dict[str, str],
    hostile_jobs: None,
    log_in_as: Callable[..., FlaskClient],
) -> None:
    seen = walk(log_in_as("boss" if scopes else "shop", *scopes), **headers)
    assert {address: code for address, code in seen.status.items() if code >= 400} == {}
    assert {address: found for address, page in seen.pages.items() if (found := problems(page))} == {}
    assert len([address for address, text in seen.answers.items() if b"o.evil-" in text]) >= 5


def test_what_an_address_says_is_text(hostile_jobs: None, log_in_as: Callable[..., FlaskClient]) -> None:
    """Links that a stranger made: with text instead of filters, cursors and times."""
    browser = log_in_as("boss", Scope.ADMIN)
    text = MARKUP + REVERSED + LONG[:200]
    for address, page in walk(browser).pages.items():
        path, _, query = address.partition("?")
        names = {element.attributes["name"] for element in page.elements if element.attributes.get("name")}
        names |= {each.partition("=")[0] for each in query.split("&") if each}
        answer = browser.get(path, query_string=dict.fromkeys(names | {"cursor", "to"}, text))
        assert answer.status_code < 500, address
        if answer.mimetype == "text/html":
            assert problems(Document(answer.text, path)) == [], address
