"""Producers' keys: those of the environment, and those made while the service runs (jobs.api_keys)."""

import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Self

from jobs.api_keys import PRODUCER, AccessKey, KeyRing, Scope, checked_name, digest_of, parsed
from jobs.owners import ANYONE

#: Characters that a header can carry (RFC 6750 allows fewer in a bearer token).
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_HASHED = re.compile(r"sha256:([0-9a-f]{64})")
#: Seconds for which a process trusts its cached copy of a key. After them a revoked key is refused.
FRESH = 1.0
#: Keys in the cache of a process, and seconds between two updates of the time at which a key was last used.
_CACHE_SIZE = 1_024
_NOTE_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: the key's id and name, and its scopes.

    `by_link`: a signed link opens this request, and proves whose the job is. `network`: from where, with a link.
    """

    key: str = ""
    name: str = ""
    scopes: frozenset[Scope] = frozenset()
    by_link: bool = False
    network: str = ""

    @property
    def holder(self) -> str:
        """Who has a share of rates and places: not the producer for those who have its links."""
        return f"link {self.name} {self.network}" if self.by_link else self.name

    @property
    def admin(self) -> bool:
        """Whether the caller may see all jobs."""
        return Scope.ADMIN in self.scopes

    @property
    def owner(self) -> str:
        """Whose jobs the caller may see and change: its own, or those of `ANYONE`."""
        return ANYONE if self.admin else self.name

    def may(self, scope: Scope) -> bool:
        """Return whether the caller has this scope."""
        return self.admin or scope in self.scopes

    def sees(self, owner: str | None) -> bool:
        """Return whether the caller may see the jobs of this owner. `owner` is None for a job that does not exist."""
        return owner is not None and (self.admin or owner == self.name != "")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the environment, with the SHA-256 of its secret. `hashed`: only the hash was given."""

    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope] = PRODUCER
    hashed: bool = False

    @classmethod
    def parse(cls, text: str, scopes: frozenset[Scope] = PRODUCER) -> Self:
        """Parse `name:secret`, `name:sha256:<hash in hex>`, or a bare secret, which gets a name from its hash.

        Raises `ValueError`; its message does not contain the secret.
        """
        before, colon, after = text.partition(":")
        secret = after if colon else before
        if not _SENDABLE.fullmatch(secret):
            raise ValueError("each secret must be printable ASCII without spaces, since a header carries it")
        if _HASHED.fullmatch(text):
            raise ValueError("a hash needs a name before it: name:sha256:…")
        hashed = _HASHED.fullmatch(secret)
        digest = bytes.fromhex(hashed[1]) if hashed else digest_of(secret)
        name = before if colon else f"key-{digest.hex()[:8]}"
        try:
            checked_name(name)
        except ValueError as error:
            # What stands before the colon may be part of the secret.
            raise ValueError(f"{error}; a secret that contains a colon needs a name before it") from None
        return cls(name, digest, scopes, hashed=hashed is not None)

    @property
    def caller(self) -> Caller:
        """The caller with this key. The id comes from the hash, since several secrets may have one name."""
        return Caller(f"env-{self.digest.hex()[:8]}", self.name, self.scopes)


class KnownKeys:
    """All valid keys. `ring`: those made while the service runs. `clock` in seconds."""

    def __init__(
        self, named: Sequence[Key], ring: Callable[[], KeyRing], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._named = list(named)
        self._ring = ring
        self._clock = clock
        self._read: OrderedDict[str, tuple[AccessKey, float]] = OrderedDict()
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def of_secret(self, secret: str) -> Caller | None:
        """Return whose secret this is, or None. Raises `StoreUnavailable` if it cannot be looked up.

        It is compared with every secret of the environment in constant time, so that the time taken does not reveal
        which one matched, or how far. A secret made while the service runs names its key, so there is one to compare.
        """
        digest = digest_of(secret)
        matches = [known for known in self._named if hmac.compare_digest(digest, known.digest)]
        if matches:
            return matches[0].caller
        found = parsed(secret)
        if found is None:
            return None
        key_id, inner = found
        key = self._find(key_id)
        if key is None or not hmac.compare_digest(digest_of(inner).hex(), key.digest):
            return None
        self._note_use(key.id)
        return Caller(key.id, key.name, key.scopes)

    def of_id(self, key_id: str) -> Caller | None:
        """Return the caller with this key id, or None if the key is not valid now."""
        for known in self._named:
            if known.caller.key == key_id:
                return known.caller
        key = self._find(key_id)
        return Caller(key.id, key.name, key.scopes) if key else None

    def _find(self, key_id: str) -> AccessKey | None:
        """Return the key as of at most `FRESH` seconds ago, or None if it is not valid."""
        now = self._clock()
        with self._lock:
            known = self._read.get(key_id)
        if known is None or now - known[1] >= FRESH:
            key = self._ring().find(key_id)
            with self._lock:
                self._read.pop(key_id, None)
                if key is not None:
                    self._read[key_id] = (key, now)
                    if len(self._read) > _CACHE_SIZE:
                        self._read.popitem(last=False)
        else:
            key = known[0]
        return key if key and key.opens(datetime.now(UTC)) else None

    def _note_use(self, key_id: str) -> None:
        now = self._clock()
        with self._lock:
            if now - self._noted.get(key_id, float("-inf")) < _NOTE_EVERY:
                return
            self._noted[key_id] = now
            if len(self._noted) > _CACHE_SIZE:
                self._noted.popitem(last=False)
        self._ring().note_use(key_id, datetime.now(UTC))
