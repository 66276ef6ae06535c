"""API keys that are created and revoked while the service runs, and their scopes.

They are stored in the jobs' Redis, so that all webhook processes share them. Of a secret only the SHA-256 is stored. A
plain hash suffices, because a secret is 256 random bits, which no dictionary contains. The secret is displayed once,
when the key is created.

Only the operator's user may write the keys (ops/access), so an attacker in the webhook or a worker can make none. The
version before kept them where both may write. Those keys are valid until `migrate` copies them, but never with the
scope `admin`. So they are while Redis has the access rules of the version before, with which nobody reads the new ones.
"""

import hashlib
import json
import logging
import re
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import redis

from jobs.connections.errors import translate_errors
from jobs.decoding import decoding
from jobs.errors import AccessRefused, KeyExists, KeyNotFound, RecordDamaged
from jobs.fields import printable
from jobs.owners import CELERY
from jobs.store.redis_keys import Keys
from jobs.units import from_micros, to_micros

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
#: Names that stand for another entry point in jobs, limits and spending.
_RESERVED = frozenset({CELERY})
#: The text of a key: its id, by which it is found, then its secret.
_TEXT = re.compile(r"bmr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SECRET_BYTES = 32
_ID_BYTES = 6
#: A field beside the keys: µs when those of the version before were copied. From then on they are not read there.
MIGRATED = "migrated"
#: A member of the stored form: the key had the scope `admin`, which an operator has not confirmed since.
_WITHHELD = "admin_withheld"


class Scope(StrEnum):
    """What a key may do. All but `admin` apply only to the jobs of the key's name."""

    ENQUEUE = "enqueue"  #: all that can buy: create, retry and resume jobs, raise `max_cost`; upload images
    READ = "read"  #: read jobs, batches, results, spending and lanes
    CANCEL = "cancel"  #: cancel, pause, lower `max_cost`
    ADMIN = "admin"  #: all of these, for the jobs of all producers


#: The scopes that a producer needs.
PRODUCER = frozenset({Scope.ENQUEUE, Scope.READ, Scope.CANCEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A stored key. `name`: the producer, who owns the jobs; several keys may have one name.

    `digest`: SHA-256 of the secret, in hex. `used_at`: when it was last used, to about a minute.
    """

    id: str
    name: str
    digest: str = field(repr=False)
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def opens(self, now: datetime) -> bool:
        """Return whether the key is valid at that time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def to_json(self) -> str:
        """Return the stored form; times in µs since 1970."""
        times = {"created": self.created_at, "expires": self.expires_at, "revoked": self.revoked_at}
        kept = {name: to_micros(moment) for name, moment in times.items() if moment}
        return json.dumps({"name": self.name, "sha256": self.digest, "scopes": sorted(self.scopes), **kept})

    @classmethod
    def from_json(cls, key_id: str, text: str, used: str | None = None) -> Self:
        """Read the stored form. Raises `RecordDamaged`."""
        with decoding(f"key {printable(key_id)}"):
            return cls._of(key_id, json.loads(text), used)

    @classmethod
    def _of(cls, key_id: str, kept: Mapping[str, Any], used: str | None) -> Self:
        def moment(name: str) -> datetime | None:
            return from_micros(kept[name]) if name in kept else None

        bytes.fromhex(kept["sha256"])
        return cls(
            id=key_id,
            name=checked_name(kept["name"]),
            digest=kept["sha256"],
            scopes=frozenset(map(Scope, kept["scopes"])),
            created_at=from_micros(kept["created"]),
            expires_at=moment("expires"),
            revoked_at=moment("revoked"),
            used_at=from_micros(used) if used and used.isdecimal() else None,
        )


class KeyRing:
    """The stored keys. All methods raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._kept = keys.access
        self._before = keys.singleton("access")
        self._used = keys.singleton("accessed")

    def add(
        self,
        name: str,
        scopes: Collection[Scope],
        *,
        key_id: str | None = None,
        now: datetime | None = None,
        lasts: timedelta | None = None,
    ) -> tuple[AccessKey, str]:
        """Create a key; return it with its secret, which is not stored. Raises `ValueError` for an invalid name.

        `key_id`: one of `new_key_id`, so that a request that is sent twice makes one key. Raises `KeyExists` for one
        that a key has already.
        """
        checked_name(name)
        now = now or datetime.now(UTC)
        key_id, secret = key_id or new_key_id(), secrets.token_urlsafe(_SECRET_BYTES)
        key = AccessKey(
            id=key_id,
            name=name,
            digest=digest_of(secret).hex(),
            scopes=frozenset(scopes),
            created_at=now,
            expires_at=now + lasts if lasts else None,
        )
        self.migrate(now)
        with translate_errors():
            made = self._client.hsetnx(self._kept, key_id, key.to_json())
            # Written again by a repeated command, it is this one.
            same = made or self._client.hget(self._kept, key_id) == key.to_json()
        if not same:
            raise KeyExists(key_id)
        return key, f"bmr_{key_id}_{secret}"

    def find(self, key_id: str) -> AccessKey | None:
        """Find a key by id, valid or not, without its `used_at`."""
        if key_id == MIGRATED:
            return None  # no key: a mark in the same hash
        with translate_errors():
            try:
                text, migrated = self._client.hmget(self._kept, [key_id, MIGRATED])
            except redis.exceptions.NoPermissionError:
                text = migrated = None
            if text is None and migrated is None and (text := self._client.hget(self._before, key_id)):
                found = AccessKey.from_json(key_id, str(text))
                return replace(found, scopes=found.scopes - {Scope.ADMIN})
        return AccessKey.from_json(key_id, str(text)) if text else None

    def all(self) -> list[AccessKey]:
        """Return all keys, also revoked and expired ones, oldest first. Damaged ones are logged and left out.

        Keys that are not migrated have the scopes that they will have then.
        """
        with translate_errors():
            try:
                kept: Any = self._client.hgetall(self._kept)
            except redis.exceptions.NoPermissionError as error:
                log.warning("only keys of the version before are valid: Redis has its access rules: %s", error)
                kept = {}
            used: Any = self._client.hgetall(self._used)
            if MIGRATED not in kept:
                kept = {**self._client.hgetall(self._before), **kept}
        kept.pop(MIGRATED, None)
        keys = []
        for key_id, text in kept.items():
            try:
                keys.append(AccessKey.from_json(key_id, text, used.get(key_id)))
            except RecordDamaged as error:
                log.warning("a key is left out: %s", error)
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str, now: datetime | None = None) -> AccessKey:
        """Revoke a key; a second time changes nothing. Raises `KeyNotFound`.

        Webhooks of the version before refuse it, too.
        """
        self.migrate(now)
        key = self.find(key_id)
        if key is None:
            raise KeyNotFound(key_id)
        if key.revoked_at is None:
            key = replace(key, revoked_at=now or datetime.now(UTC))
        with translate_errors():
            self._client.hset(self._kept, key_id, key.to_json())
            if self._client.hexists(self._before, key_id):
                self._client.hset(self._before, key_id, key.to_json())
        return key

    @property
    def migrated(self) -> bool:
        """Whether the keys of the version before are no longer read where it kept them."""
        with translate_errors():
            return bool(self._client.hexists(self._kept, MIGRATED))

    @property
    def readable(self) -> bool:
        """Whether Redis lets this user read the keys: not with the access rules of the version before."""
        try:
            _ = self.migrated
        except AccessRefused:
            return False
        return True

    def migrate(self, now: datetime | None = None, *, confirmed: bool = False) -> list[str]:
        """Copy the keys of the version before, once, and return their ids. Its webhooks still read theirs.

        Only if `confirmed` do they get the scope `admin`, also those that were copied without it before: until an
        operator looks at them, an attacker may have made them.
        """
        copied = [] if self.migrated else self._copy(now or datetime.now(UTC))
        return sorted({*copied, *(self._confirm() if confirmed else ())})

    def _copy(self, now: datetime) -> list[str]:
        with translate_errors():
            before: Any = self._client.hgetall(self._before)
            with self._client.pipeline() as pipe:
                for key_id, text in before.items():
                    pipe.hsetnx(self._kept, key_id, _without_admin(text))
                pipe.hset(self._kept, MIGRATED, str(to_micros(now)))
                pipe.execute()
        return list(before)

    def _confirm(self) -> list[str]:
        """Give back the scope `admin` to the keys that were copied without it, and return their ids."""
        with translate_errors():
            kept: Any = self._client.hgetall(self._kept)
            confirmed = {key_id: whole for key_id, text in kept.items() if (whole := _with_admin(text))}
            if confirmed:
                self._client.hset(self._kept, mapping=dict(confirmed))
        return list(confirmed)

    def remove_before(self) -> None:
        """Migrate the keys, and delete them where the version before reads them."""
        self.migrate(confirmed=True)
        with translate_errors():
            self._client.delete(self._before)

    def note_use(self, key_id: str, now: datetime) -> None:
        """Record that a key was used. Callers do so about once a minute."""
        with translate_errors():
            self._client.hset(self._used, key_id, str(to_micros(now)))


def _without_admin(text: str) -> str:
    """Return the stored form of a key of the version before, without the scope `admin`; a damaged one as it is."""
    with suppress(ValueError, TypeError, KeyError):
        kept = json.loads(text)
        if Scope.ADMIN in kept["scopes"]:
            scopes = [scope for scope in kept["scopes"] if scope != Scope.ADMIN]
            return json.dumps({**kept, "scopes": scopes, _WITHHELD: True})
    return text


def _with_admin(text: str) -> str | None:
    """Return the stored form with the scope `admin` that was withheld; None if none was."""
    with suppress(ValueError, TypeError, KeyError):
        kept = json.loads(text)
        if isinstance(kept, dict) and kept.pop(_WITHHELD, False):
            return json.dumps({**kept, "scopes": [*kept["scopes"], Scope.ADMIN]})
    return None


def new_key_id() -> str:
    """Return an id that no key has."""
    return secrets.token_hex(_ID_BYTES)


def checked_name(name: str) -> str:
    """Return the name if a key may have it; raise `ValueError` otherwise."""
    if not _NAME.fullmatch(name):
        raise ValueError("a name consists of 1 to 32 of the characters a-z 0-9 _ - and begins with a letter or digit")
    if name in _RESERVED:
        raise ValueError(f"{name} cannot be the name of a key: it is reserved for jobs that come through Celery")
    return name


def digest_of(secret: str) -> bytes:
    """Hash a secret. Unusual characters of a header come as latin-1."""
    return hashlib.sha256(secret.encode("latin-1", "replace")).digest()


def parsed(text: str) -> tuple[str, str] | None:
    """Split the text of a key into id and secret; None for any other text."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found else None
