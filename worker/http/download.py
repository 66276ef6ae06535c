"""Download a file from an address that the provider named: bounded in time and size, and safe.

A name is resolved once, and addresses that are not public are refused at every redirect. A peer that is silent or too
slow ends the download. A transfer that breaks off is continued where the server can do that (RFC 9110, 14).
"""

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests_hardened.ip_filter import InvalidIPAddress
from urllib3.exceptions import HTTPError

from jobs.blobs.full_disk import describe
from schemas.outputs import checked_url
from schemas.urls import MAX_IMAGE_URL, url_problem
from worker.errors import DownloadFailed
from worker.http.checked import adapter_for
from worker.http.deadline import DEADLINE, Deadline
from worker.http.inflate import CODINGS, PIECE, Inflater
from worker.http.retry_after import retry_after
from worker.http.session import Session

#: Seconds to connect.
CONNECT = 5.0
#: Seconds that a download may take beside those that the least rate allows.
GRACE = 20.0
MOST_REDIRECTS = 5
#: How often a transfer is begun, if each can be continued.
TRIES = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_PARTIAL, _UNSATISFIABLE, _OK = 206, 416, 200
_BROKEN = (requests.RequestException, HTTPError, HTTPException, OSError)
_HEADERS = {"User-Agent": "boomerang", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Bounds:
    """`size`: most bytes of a file. `rate`: least bytes per second, on average and after GRACE."""

    size: int
    rate: float


@dataclass(frozen=True, slots=True)
class Body:
    """What was downloaded: SHA-256 in hexadecimal, and bytes."""

    sha256: str
    size: int


class Downloader:
    """Downloads files; several threads may share it. Each keeps connections of its own.

    `private_hosts` allows addresses that are not public. `proxy`: all calls go through it; then it decides which
    addresses can be reached, and only hosts that are addresses are checked here. `ca`: a PEM file of authorities.
    """

    def __init__(
        self, bounds: Bounds, *, private_hosts: bool = False, proxy: str | None = None, ca: str | None = None
    ) -> None:
        self._bounds = bounds
        self._private_hosts = private_hosts
        self._proxy = proxy
        self._ca = ca
        self._local = threading.local()

    @property
    def longest(self) -> float:
        """The seconds that the largest file takes at the least rate."""
        return GRACE + self._bounds.size / self._bounds.rate

    def download(self, url: str, file: IO[bytes], seconds: float, alive: Callable[[], None] = lambda: None) -> Body:
        """Download into an empty file within `seconds`. Raises `DownloadFailed`, whose message has no address.

        `alive` is called with each piece that comes.
        """
        transfer = _Transfer(file, self._bounds, time.monotonic(), seconds, alive)
        for _ in range(TRIES):
            try:
                self._begin(url, transfer)
            except InvalidIPAddress as error:
                raise DownloadFailed(
                    "its address is not public; if the provider is in your network, set BOOMERANG_ALLOW_PRIVATE_HOSTS"
                ) from error
            except (*_BROKEN, zlib.error, ValueError) as error:
                if transfer.is_late():
                    raise DownloadFailed(f"too slow: {transfer.received:,} bytes in {transfer.age():.0f} s") from error
                if not transfer.can_continue():
                    raise DownloadFailed(transfer.broken(error)) from error
            else:
                return transfer.body()
        raise DownloadFailed(f"the connection broke {TRIES} times, last after {transfer.received:,} bytes")

    def _begin(self, url: str, transfer: "_Transfer") -> None:
        """Begin or continue a transfer, and take it to its end."""
        with self._follow(url, transfer) as response:
            status = response.status_code
            if status == _UNSATISFIABLE and transfer.received:
                transfer.restart()
                self._begin(url, transfer)
                return
            if status == _PARTIAL and transfer.received:
                if transfer.has_changed(response.headers):
                    response.close()
                    transfer.restart()
                    self._begin(url, transfer)
                    return
                transfer.check_continues(response.headers)
            elif status == _OK:
                transfer.restart()
                transfer.note(response.headers)
            else:
                raise DownloadFailed(
                    f"the server answered {status}", gone=status in _GONE, retry_after=retry_after(response.headers)
                )
            transfer.take(response)

    def _follow(self, url: str, transfer: "_Transfer") -> requests.Response:
        """Send the request, and follow redirects, each of which is checked as the first address was."""
        secure = False
        for _ in range(MOST_REDIRECTS + 1):
            self._check(url, secure=secure)
            secure = url.startswith("https:")
            DEADLINE.set(transfer.deadline)
            response = self._session().get(
                url, headers=transfer.headers(), timeout=(CONNECT, GRACE), allow_redirects=False, stream=True
            )
            if response.status_code not in _REDIRECTS:
                return response
            with response:
                location = response.headers.get("Location", "").encode("latin-1", "replace").decode("utf-8", "replace")
            target, problem = checked_url(urljoin(url, location) if location else "")
            if target is None:
                raise DownloadFailed(f"redirected to an address {problem}")
            url = target
        raise DownloadFailed(f"redirected more than {MOST_REDIRECTS} times")

    def _check(self, url: str, *, secure: bool) -> None:
        if secure and not url.startswith("https:"):
            raise DownloadFailed("redirected from https to http")
        if not self._private_hosts and (problem := url_problem(url, MAX_IMAGE_URL)):
            raise DownloadFailed(
                f"its address {problem} (BOOMERANG_ALLOW_PRIVATE_HOSTS allows the hosts of your network)"
            )

    def _session(self) -> Session:
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = Session()
            for scheme in ("http", "https"):
                open_to_all = self._private_hosts or self._proxy is not None
                session.mount(f"{scheme}://", adapter_for(scheme, private_hosts=open_to_all))
            session.headers.clear()
            session.headers.update(_HEADERS)
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.verify = self._ca or True
            if self._proxy:
                session.proxies = {"http": self._proxy, "https": self._proxy}
        return session


@dataclass(slots=True)
class _Transfer:
    """The state of a download over all its connections."""

    file: IO[bytes]
    bounds: Bounds
    begun: float
    seconds: float
    alive: Callable[[], None]
    received: int = 0  #: bytes of the body, as they were sent
    size: int = 0  #: bytes written
    digest: Any = field(default_factory=sha256)
    validator: str = ""  #: what a continued transfer must still match
    encoded: bool = False
    total: int | None = None  #: bytes of the body, as the first answer announced them
    deadline: Deadline = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the time that a silent peer gets."""
        self.deadline = Deadline(min(self.seconds, GRACE))

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the next request."""
        if not self.received:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self.validator}

    def note(self, headers: Mapping[str, str]) -> None:
        """Note how the body is encoded, and how to continue it."""
        coding = headers.get("Content-Encoding", "").strip().lower()
        self.encoded = coding not in ("", "identity")
        if self.encoded and coding not in CODINGS:
            raise DownloadFailed("the server compressed it in a way that was not asked for")
        self.validator = _validator(headers) if headers.get("Accept-Ranges", "").lower() == "bytes" else ""
        self.total = self._expected(headers)

    def has_changed(self, headers: Mapping[str, str]) -> bool:
        """Return whether a partial answer is of another file than the first answer (RFC 9110, 14.4)."""
        total = headers.get("Content-Range", "").rpartition("/")[2].strip()
        other_size = self.total is not None and total.isdecimal() and total != str(self.total)
        return other_size or _validator(headers) not in ("", self.validator)

    def check_continues(self, headers: Mapping[str, str]) -> None:
        """Check that an answer begins where the last one ended."""
        if not headers.get("Content-Range", "").startswith(f"bytes {self.received}-"):
            raise DownloadFailed("the server continued the transfer at another byte")

    def take(self, response: requests.Response) -> None:
        """Write the body of an answer. Raises `DownloadFailed` if it is too large."""
        expected = self._expected(response.headers)
        if expected is not None and expected > self.bounds.size:
            raise self._too_large(expected)
        inflater = Inflater() if self.encoded else None
        for data in self._read(response):
            for piece in inflater.pieces(data) if inflater else (data,):
                self._write(piece)
        if inflater:
            self._write(inflater.end())
        if expected is not None and self.received != expected:
            raise OSError(f"{self.received:,} of {expected:,} bytes came")

    def is_late(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self.deadline.at

    def age(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self.begun

    def can_continue(self) -> bool:
        """Return whether the rest can be asked for, or nothing came yet that a new transfer would repeat."""
        return bool(self.received and self.validator and not self.encoded)

    def broken(self, error: Exception) -> str:
        """Describe a transfer that broke off."""
        after = f" after {self.received:,} bytes" if self.received else ""
        return f"the download failed{after}: {type(error).__name__}"

    def restart(self) -> None:
        """Forget what came."""
        self.file.seek(0)
        self.file.truncate()
        self.received = self.size = 0
        self.digest = sha256()
        self.validator = ""

    def body(self) -> Body:
        """Return what was downloaded."""
        return Body(self.digest.hexdigest(), self.size)

    def _expected(self, headers: Mapping[str, str]) -> int | None:
        """Return the bytes that the whole body must have; None if its end shows only when it comes."""
        if "Transfer-Encoding" in headers or "Content-Length" not in headers:
            return None
        # A repeated header is joined, and allowed with one value (RFC 9110, 8.6).
        length, *others = {each.strip() for each in headers["Content-Length"].split(",")}
        if others or not (length.isascii() and length.isdigit()):
            raise DownloadFailed("the server's Content-Length is no number")
        return self.received + int(length)

    def _read(self, response: requests.Response) -> Iterator[bytes]:
        while data := response.raw.read1(PIECE, decode_content=False):
            self.received += len(data)
            if self.received > self.bounds.size:  # also of a compressed body that expands to nothing
                raise self._too_large(self.received)
            # The least rate: what has come pays for the time until the next bytes.
            allowed = min(self.seconds, GRACE + self.received / self.bounds.rate)
            self.deadline.at = self.begun + allowed
            self.alive()
            yield data

    def _write(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self.bounds.size:
            raise self._too_large(self.size)
        self.digest.update(piece)
        try:
            self.file.write(piece)
        except OSError as error:  # not the server's
            raise DownloadFailed(f"it cannot be written here: {describe(error)}") from error

    def _too_large(self, size: int) -> DownloadFailed:
        return DownloadFailed(
            f"it has {size:,} bytes or more, and BOOMERANG_RESULT_MAX_SIZE allows {self.bounds.size:,}"
        )


def _validator(headers: Mapping[str, str]) -> str:
    """Return what tells one version of a file from others: a strong ETag, or else the time of its last change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def host_of(url: str) -> str:
    """Return the host of an address, for messages: the rest may contain a signature."""
    return urlsplit(url).hostname or "?"
