"""The only module that talks to the service: one session, retries, and errors in our own words."""

import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from secrets import SystemRandom
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, RequestException, SSLError, Timeout
from urllib3.exceptions import InvalidHeader, MaxRetryError, ReadTimeoutError, ResponseError
from urllib3.util.retry import Retry

from boomerang_client.errors import NotFound, ServiceUnavailable, UnexpectedAnswer, UsageError, api_error
from boomerang_client.ndjson import encode

BACKOFF_MAX = 20.0
RETRY_AFTER_MAX = 60.0
# urllib3 leaves the connect time-out on the socket while a body is sent; an upload must survive a service that
# pauses reading while it stores what it has.
UPLOAD_STALL = 30.0
# A stream of events gives a sign of life every 15 s.
EVENTS_STALL = 40.0
#: Connections that are kept for the next call: as many threads may share a client without making new ones.
THREADS = 32
#: What a service or what stands before it answers while it is away.
AWAY = (502, 503, 504)
#: What cannot be said twice without meaning more, and what is asked for again by its reader.
ONCE = ("/retry", "/events")

Params: TypeAlias = Mapping[str, str | int | float | Sequence[str]]

_random = SystemRandom()


def pause_before(repeat: int, backoff: float) -> float:
    """Seconds to wait before repeat 1, 2, …: full jitter."""
    return _random.uniform(0, min(BACKOFF_MAX, backoff * 2 ** (repeat - 1)))


class Patience(Retry):
    """Retries with full jitter: before repeat k a random time up to backoff × 2^(k-1) seconds, BACKOFF_MAX at most.

    (urllib3's own `backoff_jitter` only adds to a fixed wait, and its first repeat comes at once.) A `Retry-After` is
    honoured up to RETRY_AFTER_MAX; beyond that the answer goes back to the caller, who knows better how to wait long.
    """

    def get_backoff_time(self) -> float:
        return pause_before(max(1, len(self.history)), self.backoff_factor)

    def get_retry_after(self, response: Any) -> float | None:
        try:
            return super().get_retry_after(response)
        except InvalidHeader:
            return None

    def sleep_for_retry(self, response: Any) -> bool:
        # Those who were told the same number of seconds do not all come back in the same moment.
        after = self.get_retry_after(response)
        if after:
            time.sleep(after + _random.uniform(0, min(after, self.backoff_factor)))
        return bool(after)

    def increment(self, *args: Any, **kwargs: Any) -> "Patience":
        response = kwargs.get("response")
        if response is not None and (self.get_retry_after(response) or 0) > RETRY_AFTER_MAX:
            raise MaxRetryError(kwargs["_pool"], str(args[1]), ResponseError("Retry-After is too long to sit out"))
        return super().increment(*args, **kwargs)


class UploadPatience(Patience):
    """Patience with a service that is away, not with one that has no room."""

    RETRY_AFTER_STATUS_CODES = frozenset({503})


class ClosingAdapter(HTTPAdapter):
    """Closes its sockets when it is closed.

    urllib3 2 only forgets its pools, and their sockets close when the collector finds them; after an error its own
    frames refer to the pool, so that may be long after.
    """

    def close(self) -> None:
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 -- not a dict: it refuses to be iterated
            pool = pools.get(key)
            if pool is not None:
                pool.close()
        super().close()


class Adapter(ClosingAdapter):
    """Repeats every request but two kinds: a retry, and a stream of events.

    A retry has no id of its own: if the first one was carried out and its attempt has failed since, a repeat would
    begin one more attempt, which nobody asked for and somebody may pay for. An upload that finds no room (429) goes
    back to its author too: that may last, and they want to be told.
    """

    def __init__(self, retry: Retry, uploads: Retry) -> None:
        super().__init__(max_retries=retry, pool_maxsize=THREADS)
        self._once = ClosingAdapter(max_retries=Retry(0, read=False))
        self._uploads = ClosingAdapter(max_retries=uploads)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        path = request.path_url.partition("?")[0]
        if path.endswith(ONCE):
            return self._once.send(request, *args, **kwargs)
        if path.endswith("/batches") and request.method == "POST":
            return self._uploads.send(request, *args, **kwargs)
        return super().send(request, *args, **kwargs)

    def close(self) -> None:
        self._once.close()
        self._uploads.close()
        super().close()


class Transport:
    """Requests to one service under one key. `retries`: how often a call is repeated; `backoff`: see Patience."""

    def __init__(self, url: str, key: str, *, timeout: tuple[float, float], retries: int, backoff: float) -> None:
        self.url = checked_url(url)
        self.timeout = timeout
        self._session = requests.Session()
        # No proxies and no .netrc from the environment: the latter would replace the key.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # no state that threads would share
        self._session.headers["Authorization"] = f"Bearer {checked_key(key)}"
        self._session.headers["Accept"] = "application/json, application/x-ndjson, application/problem+json"
        # POSTs may be repeated too: their ids are made on the client (the Adapter knows the exceptions).
        options: Mapping[str, Any] = {"allowed_methods": None, "backoff_factor": backoff, "raise_on_status": False}
        patience = Patience(retries, status_forcelist=(429, *AWAY), **options)
        adapter = Adapter(patience, UploadPatience(retries, status_forcelist=AWAY, **options))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, params: Params | None = None) -> Any:
        """The parsed JSON answer of a GET."""
        return self._json("GET", path, params=params)

    def has(self, path: str) -> bool:
        """Whether there is something at the path."""
        try:
            self._send("HEAD", path)
        except NotFound:
            return False
        return True

    def post(self, path: str, request: Mapping[str, Any] | None = None, params: Params | None = None) -> Any:
        """The parsed JSON answer of a POST of a JSON object, or of nothing."""
        body = None if request is None else encode(request)
        headers = {"Content-Type": "application/json"} if body else None
        return self._json("POST", path, data=body, params=params, headers=headers)

    def post_bytes(self, path: str, body: bytes, content_type: str) -> Any:
        """The parsed JSON answer of a POST of something else."""
        return self._upload(path, body, {"Content-Type": content_type})

    def post_lines(self, path: str, body: "bytes | Path", params: Params, *, key: str | None = None) -> Any:
        """The parsed JSON answer of a POST of gzipped NDJSON: bytes, or a file's. `key`: its Idempotency-Key."""
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        if key is not None:
            # Any text is a key, and a header is bytes.
            headers |= {"Idempotency-Key": key.encode()}  # type: ignore[dict-item]
        if isinstance(body, bytes):
            return self._upload(path, body, headers, params)
        with body.open("rb") as file:
            return self._upload(path, file, headers, params)

    def _upload(self, path: str, body: Any, headers: Mapping[str, str], params: Params | None = None) -> Any:
        timeout = (max(self.timeout[0], UPLOAD_STALL), self.timeout[1])
        return self._json("POST", path, data=body, params=params, headers=headers, timeout=timeout)

    def events(self, path: str, longest: float = EVENTS_STALL) -> Generator[Any, None, None]:
        """The parsed data of server-sent events as they come, None for a sign of life; ends as the service ends it.

        Raises ServiceUnavailable when it breaks off, or nothing comes for `longest` seconds. Closing the iterator
        closes the connection.
        """
        headers, timeout = {"Accept": "text/event-stream"}, (self.timeout[0], longest)
        try:
            with closing(self._send("GET", path, stream=True, headers=headers, timeout=timeout)) as response:
                # Each event of the service has one line of data; the names of events say nothing that these do not.
                for line in response.iter_lines(chunk_size=None):
                    if line.startswith(b"data:"):
                        yield _parsed(line[5:], "An event")
                    elif line.startswith(b":"):
                        yield None
        except RequestException as error:
            raise ServiceUnavailable(f"The events of {self.url} broke off. Ask again.") from error

    def lines(self, path: str, params: Params | None = None) -> Iterator[Any]:
        """The parsed lines of an NDJSON answer, as they arrive. Closing the iterator closes the connection."""
        number = 0
        try:
            with closing(self._send("GET", path, params=params, stream=True)) as response:
                for number, line in enumerate(filter(None, response.iter_lines(chunk_size=64 * 1024)), start=1):
                    yield _parsed(line, f"Line {number} of the answer")
        except RequestException as error:
            raise ServiceUnavailable(
                f"The answer of {self.url} broke off after {number} lines. Ask again; it is the same each time."
            ) from error

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return _parsed(self._send(method, path, **options).content, f"The answer of {self.url}")

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", self.timeout)
        try:
            # A redirect is not followed: requests would turn some POSTs into GETs, and carry the key elsewhere.
            response = self._session.request(method, self.url + path, allow_redirects=False, **options)
        except RequestException as error:
            raise ServiceUnavailable(f"{_why(error, self.url)} Check BOOMERANG_URL and that it runs.") from error
        if response.ok and not response.is_redirect:
            return response
        with closing(response):
            raise _refusal(response, self.url)


def checked_url(url: str) -> str:
    """The service's URL without a slash at its end; raises UsageError."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("BOOMERANG_URL is not a URL like https://boomerang.example.com.")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("BOOMERANG_URL takes no user, query or fragment; the key goes into BOOMERANG_KEY.")
    return url.strip().rstrip("/")


def checked_key(key: str) -> str:
    """The key without white space around it; raises UsageError, which does not show it."""
    key = key.strip()
    if not key or not all("!" <= letter <= "~" for letter in key):
        raise UsageError("BOOMERANG_KEY is empty or has characters that no key has. Copy it again.")
    return key


def _parsed(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"{what} is not JSON. Check that BOOMERANG_URL is Boomerang's own.") from error


def _refusal(response: requests.Response, url: str) -> Exception:
    if response.is_redirect:
        return UnexpectedAnswer(f"{url} redirects to {response.headers['Location']}. Set BOOMERANG_URL accordingly.")
    try:
        problem = json.loads(response.content)
    except (ValueError, RecursionError, RequestException):
        problem = None
    said = response.headers.get("Retry-After", "")
    # urllib3 reads dates too, but cuts what it thinks too long.
    after = float(said) if said.isascii() and said.isdigit() else Patience().get_retry_after(response)
    return api_error(response.status_code, problem, after)


def _why(error: RequestException, url: str) -> str:
    if isinstance(error, ConnectTimeout):
        return f"{url} cannot be reached: no connection in time."
    # What was repeated in vain comes wrapped.
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, Timeout) or isinstance(reason, ReadTimeoutError):
        return f"{url} did not answer in time."
    if isinstance(error, SSLError):
        return f"{url} cannot be reached: its certificate or TLS set-up was refused."
    return f"{url} cannot be reached, or broke off."
