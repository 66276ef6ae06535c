"""Who may call: keys that the environment names, and those that were made while the service runs (jobs.api_keys)."""

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

#: What a bearer token may consist of, so that it can be sent in a header at all (RFC 6750 allows less).
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_HASHED = re.compile(r"sha256:([0-9a-f]{64})")
#: Seconds for which a process goes by what it has read of a key: a revoked one opens nothing any more after them.
FRESH = 1.0
#: Keys that a process remembers, and seconds between two notes that one of them is used.
_REMEMBERED = 1_024
_NOTE_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the key's id and name, and what it may do."""

    key: str = ""
    name: str = ""
    scopes: frozenset[Scope] = frozenset()

    @property
    def admin(self) -> bool:
        """Whether everybody's jobs are shown."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """Whether the key has this scope."""
        return self.admin or scope in self.scopes

    def sees(self, owner: str | None) -> bool:
        """Whether what came with keys of that name is shown; None is what is not there."""
        return owner is not None and (self.admin or owner == self.name != "")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the environment: who calls, and the SHA-256 of the secret that shows it."""

    name: str
    digest: bytes = field(repr=False)
    scopes: frozenset[Scope] = PRODUCER

    @classmethod
    def parse(cls, text: str, scopes: frozenset[Scope] = PRODUCER) -> Self:
        """Of `name:secret`, `name:sha256:<its hash in hex>`, or a bare secret, which is named by its hash.

        Raises `ValueError` without the secret.
        """
        before, colon, after = text.partition(":")
        secret = after if colon else before
        if not _SENDABLE.fullmatch(secret):
            raise ValueError("each secret must be printable ASCII without spaces, or no header can carry it")
        if _HASHED.fullmatch(text):
            raise ValueError("a hash needs a name before it, name:sha256:…")
        hashed = _HASHED.fullmatch(secret)
        digest = bytes.fromhex(hashed[1]) if hashed else digest_of(secret)
        name = before if colon else f"key-{digest.hex()[:8]}"
        try:
            checked_name(name)
        except ValueError as error:
            # It may be the beginning of a secret that has a colon.
            raise ValueError(f"{error}; a secret with a colon in it needs a name") from None
        return cls(name, digest, scopes)

    @property
    def caller(self) -> Caller:
        """Who calls with it. The id is the hash's beginning: nothing else tells two secrets of one name apart."""
        return Caller(f"env-{self.digest.hex()[:8]}", self.name, self.scopes)


class KnownKeys:
    """All keys that open anything. `ring`: those that are kept; `clock` in seconds."""

    def __init__(
        self, named: Sequence[Key], ring: Callable[[], KeyRing], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._named = list(named)
        self._ring = ring
        self._clock = clock
        self._read: OrderedDict[str, tuple[AccessKey, float]] = OrderedDict()
        self._noted: dict[str, float] = {}
        self._lock = Lock()

    def of_secret(self, secret: str) -> Caller | None:
        """Who calls with this secret. Raises `StoreUnavailable` where a key that is kept cannot be looked up.

        Secrets of the environment are compared with all, in constant time: neither which key matched nor how far shows
        in how long it takes. One that is kept names its key itself, so that there is one to compare with.
        """
        digest = digest_of(secret)
        matches = [known for known in self._named if hmac.compare_digest(digest, known.digest)]
        if matches:
            return matches[0].caller
        found = parsed(secret)
        if found is None:
            return None
        key_id, inner = found
        key = self._kept(key_id)
        if key is None or not hmac.compare_digest(digest_of(inner).hex(), key.digest):
            return None
        self._note(key.id)
        return Caller(key.id, key.name, key.scopes)

    def of_id(self, key_id: str) -> Caller | None:
        """Who that key is, while it opens anything."""
        for known in self._named:
            if known.caller.key == key_id:
                return known.caller
        key = self._kept(key_id)
        return Caller(key.id, key.name, key.scopes) if key else None

    def _kept(self, key_id: str) -> AccessKey | None:
        """The key as it was at most `FRESH` seconds ago; None where it opens nothing."""
        now = self._clock()
        with self._lock:
            known = self._read.get(key_id)
        if known is None or now - known[1] >= FRESH:
            key = self._ring().find(key_id)
            with self._lock:
                self._read.pop(key_id, None)
                if key is not None:
                    self._read[key_id] = (key, now)
                    if len(self._read) > _REMEMBERED:
                        self._read.popitem(last=False)
        else:
            key = known[0]
        return key if key and key.opens(datetime.now(UTC)) else None

    def _note(self, key_id: str) -> None:
        now = self._clock()
        with self._lock:
            if now - self._noted.get(key_id, float("-inf")) < _NOTE_EVERY:
                return
            self._noted[key_id] = now
        self._ring().note_use(key_id, datetime.now(UTC))
