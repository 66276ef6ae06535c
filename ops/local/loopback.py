"""HTTP GET from servers on this machine. Ignores the proxy settings of the environment."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float = 30.0) -> bytes:
    """Return the body of a 2xx response. Raises OSError for anything else."""
    try:
        with _DIRECT.open(url, timeout=timeout) as answer:
            return bytes(answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error!r}") from error


def get_json(url: str) -> Any:
    """Return the body of a 2xx response, parsed as JSON. Raises OSError."""
    return json.loads(get(url))


def put_json(url: str, body: object) -> None:
    """Send a JSON value. Raises OSError unless the response is 2xx."""
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")  # noqa: S310 - our own process
    with _DIRECT.open(request, timeout=30) as answer:
        answer.read()


def responds(url: str) -> Callable[[], bool]:
    """Return a function that tells whether `url` responds with 2xx."""

    def ready() -> bool:
        try:
            get(url, timeout=2)
        except OSError:
            return False
        return True

    return ready
