"""Download a file from an address that the provider named: bounded in time and size, and safe.

A name is resolved once, and addresses that are not public are refused at every redirect. `worker.http.transfer` limits
the time and the bytes.
"""

import threading
import time
import zlib
from collections.abc import Callable
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests
from requests_hardened.ip_filter import InvalidIPAddress
from urllib3.exceptions import HTTPError

from schemas.outputs import checked_url
from schemas.urls import MAX_IMAGE_URL, url_problem
from worker.errors import DownloadFailed
from worker.http.checked import adapter_for
from worker.http.deadline import DEADLINE
from worker.http.retry_after import retry_after
from worker.http.session import Session
from worker.http.transfer import GRACE, Body, Bounds, Transfer

#: Seconds to connect.
CONNECT = 5.0
MOST_REDIRECTS = 5
#: How often a transfer is begun, if each can be continued.
TRIES = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_PARTIAL, _UNSATISFIABLE, _OK = 206, 416, 200
_BROKEN = (requests.RequestException, HTTPError, HTTPException, OSError)
_HEADERS = {"User-Agent": "boomerang", "Accept": "*/*", "Accept-Encoding": "identity"}


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
        transfer = Transfer(file, self._bounds, time.monotonic(), seconds, alive)
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

    def _begin(self, url: str, transfer: Transfer) -> None:
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

    def _follow(self, url: str, transfer: Transfer) -> requests.Response:
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


def host_of(url: str) -> str:
    """Return the host of an address, for messages: the rest may contain a signature."""
    return urlsplit(url).hostname or "?"
