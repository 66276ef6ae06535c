"""Walk the pages as a browser does: follow every link of every page, and collect its forms."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

from flask.testing import FlaskClient

#: Elements that end without an end tag.
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
#: Pages that are opened in one walk, and addresses of one path: filters can be combined without end.
MOST, MOST_QUERIES = 200, 4
HTMX = {"HX-Request": "true"}


@dataclass
class Form:
    """A form of a page: where it goes, how, and what it sends as the page fills it in."""

    address: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class Element:
    """An element of a page. `inside`: the elements around it, the outermost first."""

    tag: str
    attributes: dict[str, str]
    inside: tuple["Element", ...]


class Document(HTMLParser):
    """A page, parsed: its elements, its texts with the elements around each, its links and its forms."""

    def __init__(self, text: str, address: str = "/") -> None:
        super().__init__(convert_charrefs=True)
        self.address = address
        self.elements: list[Element] = []
        self.texts: list[tuple[str, tuple[Element, ...]]] = []
        self.forms: list[Form] = []
        self._open: list[Element] = []
        self.feed(text)
        self.close()

    @property
    def text(self) -> str:
        return "\n".join(text for text, _ in self.texts)

    @property
    def links(self) -> Iterator[str]:
        """Addresses of ours that the page links to or fetches parts from."""
        for element in self.elements:
            for name in ("href", "hx-get"):
                given = element.attributes.get(name, "")
                if element.tag in ("a", "link") or name == "hx-get":
                    found = urljoin(self.address, given).partition("#")[0]
                    if given and found.startswith("/") and not found.startswith(("/static/", "//")):
                        yield found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)
        given = element.attributes
        if tag == "form":
            self.forms.append(Form(urljoin(self.address, given.get("action", "")), given.get("method", "get").lower()))
        elif tag in ("input", "button", "select", "textarea") and self.forms and given.get("name"):
            self.forms[-1].fields.setdefault(given["name"], given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        for at in range(len(self._open) - 1, -1, -1):
            if self._open[at].tag == tag:
                del self._open[at:]
                return

    def handle_data(self, data: str) -> None:
        self.texts.append((data, tuple(self._open)))


@dataclass
class Walk:
    """What a browser saw: pages by address, everything that was answered, and the forms by address."""

    pages: dict[str, Document] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)


def walk(browser: FlaskClient, *starts: str, **headers: Any) -> Walk:
    """Open the pages at these addresses, and every page that is reached from them by links. Forms are not sent."""
    found, waiting = Walk(), list(starts or ("/",))
    queries: Counter[str] = Counter()
    while waiting and len(found.answers) < MOST:
        address = waiting.pop(0)
        path = address.partition("?")[0]
        if address in found.answers or queries[path] >= MOST_QUERIES:
            continue
        queries[path] += 1
        with browser.get(address, headers=headers) as answer:
            found.answers[address], found.status[address] = answer.get_data(), answer.status_code
            if answer.mimetype != "text/html":
                continue
        page = found.pages[address] = Document(found.answers[address].decode(), address)
        waiting += page.links
        for form in page.forms:
            if form.method == "post":
                found.forms.setdefault(form.address, form)
    return found
