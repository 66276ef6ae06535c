"""Redis behind Sentinel: the form of its URL, and connections that find its primary.

    sentinel://[user:password@]host[:port][,host[:port]…][/database]?master=NAME

User, password and database are the server's. The sentinels' own are `sentinel_username` and `sentinel_password`, after
the `?`. `sentinels://` encrypts the way to both, with the `ssl_…` of redis-py's `rediss://` (`ssl_ca_certs=…`).
"""

import copy
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

PLAIN, ENCRYPTED = "sentinel", "sentinels"
SCHEMES = (PLAIN, ENCRYPTED)
PORT = 26379
#: Errors of a server that is no longer the primary, beside the READONLY that redis-py knows: READONLY of a script on
#: Redis 6, inside other text; and the error that ends a blocking command (BRPOP).
_DEMOTED = re.compile("-READONLY |^UNBLOCKED ")
#: Seconds in which a sentinel must connect and answer. Then the next one is asked.
TIMEOUT = 1.0
#: Seconds between two questions for the primary; and after one that no sentinel answered.
CHECK_EVERY, RECHECK_EVERY = 1.0, 15.0
#: Not urlsplit: newer releases of Python, such as 3.13.5, reject an IPv6 address beside other hosts.
_FORM = re.compile(r"(?P<scheme>[a-z]+)://(?P<netloc>[^/?#]*)(?P<path>[^?#]*)(\?(?P<query>[^#]*))?(#.*)?")
_MASTER, _USERNAME, _PASSWORD = "master", "sentinel_username", "sentinel_password"
_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")


class AddressInvalid(ValueError):
    """A URL that is not of this module's form. The message omits it, because it may contain a password."""


def behind_sentinel(url: str) -> bool:
    """Return whether a URL is of this module's form."""
    return url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A Redis behind Sentinel. `tls` is None without encryption."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    database: int = 0
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    sentinel_login: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Mapping[str, Any] | None = None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Parse a URL. Raises `AddressInvalid`."""
        try:
            return cls._read(url)
        except AddressInvalid:
            raise
        except ValueError:
            raise AddressInvalid(f"must be {PLAIN}://host:port,host:port/0?master=NAME") from None

    @classmethod
    def _read(cls, url: str) -> Self:
        parts = _FORM.fullmatch(url)
        if parts is None:
            raise ValueError
        given = dict(parse_qsl(parts["query"] or "", keep_blank_values=True))
        if unknown := given.keys() - {_MASTER, _USERNAME, _PASSWORD, *_TLS}:
            raise AddressInvalid(f"{len(unknown)} parameters after the ? are none of its own")
        if not given.get(_MASTER):
            raise AddressInvalid("master=NAME must stand after the ?: what the sentinels call the primary")
        login, _, hosts = parts["netloc"].rpartition("@")
        username, _, password = map(unquote, login.partition(":"))
        tls = {name: value for name, value in given.items() if name in _TLS}
        if tls and parts["scheme"] != ENCRYPTED:
            raise AddressInvalid(f"ssl_… is for {ENCRYPTED}://")
        return cls(
            sentinels=tuple(map(_host, hosts.split(","))),
            master=given[_MASTER],
            database=int(parts["path"].strip("/") or 0),
            login=_login(username, password),
            sentinel_login=_login(given.get(_USERNAME, ""), given.get(_PASSWORD, "")),
            tls=_tls(tls) if parts["scheme"] == ENCRYPTED else None,
        )

    def client(self, **options: Any) -> redis.Redis:
        """Return a client of the current primary, found for each connection; `options` are redis-py's."""
        secure = {**self.tls} if self.tls is not None else {}
        kind = EncryptedConnection if self.tls is not None else Connection
        pool = _Pool(  # type: ignore[no-untyped-call]
            self.master,
            _Sentinels(self.sentinels, sentinel_kwargs=self.sentinel_options()),  # type: ignore[no-untyped-call]
            connection_class=kind,
            db=self.database,
            **self.login,
            **secure,
            **options,
        )
        return redis.Redis.from_pool(pool)

    def clients(self) -> Iterator[redis.Redis]:
        """Yield a client for each sentinel; the caller closes it."""
        for host, port in self.sentinels:
            yield redis.Redis(host, port, decode_responses=True, **self.sentinel_options())

    def sentinel_options(self) -> dict[str, Any]:
        """Return the options of connections to sentinels. redis-py would retry ten times, without a time-out."""
        return {
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            **self.sentinel_login,
            **({"ssl": True, **self.tls} if self.tls is not None else {}),
        }

    def kombu_url(self) -> str:
        """Return the URL for kombu and Celery's results: each sentinel, with the server's login and database."""
        user, password = (quote(self.login.get(name, ""), safe="") for name in ("username", "password"))
        login = f"{user}:{password}@" if self.login else ""
        return ";".join(f"{PLAIN}://{login}{_bracketed(host)}:{port}/{self.database}" for host, port in self.sentinels)

    def kombu_options(self) -> dict[str, Any]:
        """Return the `broker_transport_options` (and `result_backend_transport_options`) for that URL."""
        return {"master_name": self.master, "sentinel_kwargs": self.sentinel_options()}


class _Sentinels(Sentinel):
    def discover_master(self, service_name: str) -> Any:
        # redis-py moves the sentinel that answered to the front of a list that all threads share, and two threads at
        # once can lose one for good. So each call works on a copy, whose list replaces the shared one at the end.
        copied = copy.copy(self)
        copied.sentinels = list(self.sentinels)
        try:
            return super(_Sentinels, copied).discover_master(service_name)  # type: ignore[no-untyped-call]
        finally:
            self.sentinels = copied.sentinels


class _Pool(SentinelConnectionPool):
    """A pool that asks the sentinels for the primary repeatedly, not only for new connections.

    Reason: a healthy primary that Sentinel replaces still accepts writes for some seconds (Sentinel notifies it last,
    after eight), and loses them when it becomes a replica.
    """

    _check_at = 0.0

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        if (now := time.monotonic()) >= self._check_at:
            self._check_at = now + CHECK_EVERY
            try:
                self.get_master_address()  # type: ignore[no-untyped-call] # ends idle connections to another one
            except redis.RedisError:
                # Without sentinels, keep the existing connections.
                self._check_at = now + RECHECK_EVERY
        return super().get_connection(*args, **kwargs)

    def close(self) -> None:
        super().close()
        self.sentinel_manager.close()


class Connection(SentinelManagedConnection):
    """Ends at the first sign that its server is no longer the primary; the next connection asks the sentinels."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        # redis-py's own, other than its connections without sentinels, leaves a broken one open.
        kwargs.setdefault("disconnect_on_error", True)
        try:
            return super().read_response(*args, **kwargs)
        except redis.ResponseError as error:
            if not _DEMOTED.search(str(error)):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise redis.ConnectionError("the primary has become a replica") from error


class EncryptedConnection(Connection, SentinelManagedSSLConnection):
    """The same with TLS."""


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or PORT


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _login(username: str, password: str) -> dict[str, str]:
    return {name: value for name, value in (("username", username), ("password", password)) if value}


def _tls(given: Mapping[str, str]) -> dict[str, Any]:
    checked = given.get("ssl_check_hostname", "true").lower()
    if checked not in ("true", "false"):
        raise AddressInvalid("ssl_check_hostname is true or false")
    return {"ssl_cert_reqs": "required", **given, "ssl_check_hostname": checked == "true"}
