"""Send requests to the service: one session, retries, and errors of this package. No other module does."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests
from requests.exceptions import ConnectTimeout, RequestException, SSLError, Timeout
from requests.models import REDIRECT_STATI
from urllib3.exceptions import ReadTimeoutError

from boomerang_client import spooling
from boomerang_client.errors import NotFound, ServiceUnavailable, UnexpectedAnswer, UsageError, api_error
from boomerang_client.ndjson import encode
from boomerang_client.request_retries import JitteredRetry, retries_of
from boomerang_client.sessions import Adapter, Session

# urllib3 keeps the connect time-out on the socket while it sends a body. An upload must survive a service that stops
# reading while it stores what it has received.
UPLOAD_STALL = 30.0
# The service sends something on an event stream at least every 15 s.
EVENTS_STALL = 40.0
ACCEPT = "application/json, application/x-ndjson, application/problem+json"

Params: TypeAlias = Mapping[str, str | int | float | Sequence[str]]


class Transport:
    """Sends requests to one service with one key. `retries` and `backoff` (seconds) are those of JitteredRetry."""

    def __init__(self, url: str, key: str, *, timeout: tuple[float, float], retries: int, backoff: float) -> None:
        self.url = checked_url(url)
        self.timeout = timeout
        self._session = Session()
        # Ignore proxies and .netrc of the environment: the latter would replace the key.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # threads must not share state
        self._session.headers["Authorization"] = f"Bearer {checked_key(key)}"
        self._session.headers["Accept"] = ACCEPT
        adapter = Adapter(*retries_of(retries, backoff))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, path: str, params: Params | None = None) -> Any:
        """GET the path and return the parsed JSON answer."""
        return self._json("GET", path, params=params)

    def has(self, path: str) -> bool:
        """Return whether something exists at the path."""
        try:
            self._send("HEAD", path)
        except NotFound:
            return False
        return True

    def in_threads(self) -> "Transport":
        """Return the transport for calls in threads: this one."""
        return self

    @contextmanager
    def file(self, path: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Yield the answer to a GET of a file, its body unread: the file, or a redirect to where it is.

        Raises what other calls raise; the body may raise the errors of requests.
        """
        with closing(self._answer("GET", path, headers=headers, stream=True)) as response:
            if not response.ok:
                raise _refusal(response, self.url)
            yield response

    def post(
        self,
        path: str,
        request: Mapping[str, Any] | None = None,
        params: Params | None = None,
        *,
        key: str | None = None,
    ) -> Any:
        """POST a JSON object, or nothing, and return the parsed JSON answer. `key`: the Idempotency-Key."""
        body = None if request is None else encode(request)
        headers: dict[str, Any] = {"Content-Type": "application/json"} if body else {}
        if key is not None:
            headers["Idempotency-Key"] = key.encode()  # a key may be any text, but a header is bytes
        return self._json("POST", path, data=body, params=params, headers=headers)

    def post_bytes(self, path: str, body: bytes, content_type: str) -> Any:
        """POST bytes of another type and return the parsed JSON answer."""
        return self._upload(path, body, {"Content-Type": content_type})

    def post_lines(self, path: str, body: "bytes | Path", params: Params, *, key: str | None = None) -> Any:
        """POST gzipped NDJSON, as bytes or a file, and return the parsed JSON answer. `key`: the Idempotency-Key."""
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        if key is not None:
            # A key may be any text, but a header is bytes.
            headers |= {"Idempotency-Key": key.encode()}  # type: ignore[dict-item]
        if isinstance(body, bytes):
            return self._upload(path, body, headers, params)
        with body.open("rb") as file:
            return self._upload(path, file, headers, params)

    def _upload(self, path: str, body: Any, headers: Mapping[str, str], params: Params | None = None) -> Any:
        timeout = (max(self.timeout[0], UPLOAD_STALL), self.timeout[1])
        return self._json("POST", path, data=body, params=params, headers=headers, timeout=timeout)

    def events(self, path: str, longest: float = EVENTS_STALL) -> Generator[Any, None, None]:
        """Yield the parsed data of server-sent events as they arrive, and None for each keep-alive.

        Ends when the service ends the stream. Raises ServiceUnavailable when it breaks, or when nothing arrives for
        `longest` seconds. Closing the iterator closes the connection.
        """
        headers, timeout = {"Accept": "text/event-stream"}, (self.timeout[0], longest)
        try:
            with closing(self._send("GET", path, stream=True, headers=headers, timeout=timeout)) as response:
                # Each event has one line of data, which says everything that the event's name says.
                for line in response.iter_lines(chunk_size=None):
                    if line.startswith(b"data:"):
                        yield parsed(line[5:], "An event")
                    elif line.startswith(b":"):
                        yield None
        except RequestException as error:
            raise ServiceUnavailable(f"The event stream of {self.url} broke. Try again.") from error

    def lines(self, path: str, params: Params | None = None) -> Generator[Any, None, None]:
        """Yield the parsed lines of an NDJSON answer. Closing the iterator closes the connection.

        The answer is read as fast as it comes, however slowly the lines are taken.
        """
        number = 0
        try:
            response = self._send("GET", path, params=params, stream=True)
            with closing(spooling.lines(response.iter_content(64 * 1024), response.close)) as lines:
                for number, line in enumerate(filter(None, lines), start=1):
                    yield parsed(line, f"Line {number} of the answer")
        except RequestException as error:
            raise ServiceUnavailable(
                f"The answer of {self.url} broke off after {number} lines. Try again: it starts from the beginning."
            ) from error

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return parsed(self._send(method, path, **options).content, f"The answer of {self.url}")

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self._answer(method, path, **options)
        if response.ok and not response.is_redirect:
            return response
        with closing(response):
            raise _refusal(response, self.url)

    def _answer(self, method: str, path: str, **options: Any) -> requests.Response:
        options.setdefault("timeout", self.timeout)
        try:
            # Do not follow redirects: requests would turn some POSTs into GETs, and send the key to another server.
            return self._session.request(method, self.url + path, allow_redirects=False, **options)
        except RequestException as error:
            raise ServiceUnavailable(f"{_why(error, self.url)} Check BOOMERANG_URL and the service.") from error


def checked_url(url: str) -> str:
    """Return the service's URL without a slash at its end. Raises UsageError."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        quoted = "" if "@" in url else f" ({url!r})"  # not a password
        raise UsageError(f"BOOMERANG_URL{quoted} is not a URL. Write it like https://boomerang.example.com.")
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError("BOOMERANG_URL must not have a user, query or fragment. The key belongs into BOOMERANG_KEY.")
    return url.strip().rstrip("/")


def checked_key(key: str) -> str:
    """Return the key without surrounding white space. Raises UsageError, which does not show the key."""
    key = key.strip()
    if not key or not all("!" <= letter <= "~" for letter in key):
        raise UsageError("BOOMERANG_KEY is empty or has characters that a key cannot have. Copy it again.")
    return key


def parsed(body: bytes, what: str) -> Any:
    """Parse JSON. Raises UnexpectedAnswer."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"{what} is not JSON. Check that BOOMERANG_URL is a Boomerang service.") from error


def _refusal(response: requests.Response, url: str) -> Exception:
    try:
        body = response.content
    except RequestException:
        body = b""
    return refusal(response.status_code, response.headers, body, url)


def refusal(status: int, headers: Mapping[str, str], body: bytes, url: str) -> Exception:
    """Return the error for an answer that is a redirect or has an error's status."""
    if is_redirect(status, headers):
        return UnexpectedAnswer(f"{url} redirects to {headers['Location']}. Set BOOMERANG_URL to the new address.")
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    header = headers.get("Retry-After", "")
    # urllib3 parses dates too, but shortens long times.
    seconds = float(header) if header.isascii() and header.isdigit() else _retry_after(headers)
    return api_error(status, problem, seconds)


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether an answer is a redirect."""
    return status in REDIRECT_STATI and "Location" in headers


def _retry_after(headers: Mapping[str, str]) -> float | None:
    return JitteredRetry().get_retry_after(SimpleNamespace(headers=headers))


def _why(error: RequestException, url: str) -> str:
    if isinstance(error, ConnectTimeout):
        return f"{url} cannot be reached: the connection timed out."
    # urllib3 wraps the error of its last attempt.
    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(error, Timeout) or isinstance(reason, ReadTimeoutError):
        return f"{url} did not answer in time."
    if isinstance(error, SSLError):
        return f"{url} cannot be reached: TLS failed (its certificate or settings)."
    return f"{url} cannot be reached, or the connection broke."
