"""What a person's browser does on the pages."""

import re
from typing import Any

from flask.testing import FlaskClient


def token_of(page: Any) -> str:
    """Return the CSRF token of the forms on a page."""
    return str(re.findall(r'name="csrf_token" value="([^"]+)"', page.text)[0])


def log_in(browser: FlaskClient, secret: str, to: str = "", **options: Any) -> Any:
    """Send the form of the login and return the answer."""
    token = token_of(browser.get("/login", **options))
    return browser.post("/login", query_string={"to": to}, data={"csrf_token": token, "key": secret}, **options)


def act(browser: FlaskClient, page: str, address: str, **fields: str) -> Any:
    """Open a page, send a form to the address with the page's token, and return the answer."""
    return browser.post(address, data={"csrf_token": token_of(browser.get(page)), **fields})
