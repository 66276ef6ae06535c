"""Plain reading of what answers on this machine; never by a proxy, whatever the environment says."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float = 30.0) -> bytes:
    """The body of a 2xx; raises OSError for everything else."""
    try:
        with _DIRECT.open(url, timeout=timeout) as answer:
            return bytes(answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {error!r}") from error


def get_json(url: str) -> Any:
    """The same, read as JSON."""
    return json.loads(get(url))


def serves(url: str) -> Callable[[], bool]:
    """A question to ask until it is true: whether `url` answers with 2xx."""

    def ready() -> bool:
        try:
            get(url, timeout=2)
        except OSError:
            return False
        return True

    return ready
