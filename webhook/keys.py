"""Producers' keys: each is a secret with a name, `name:secret`; several secrets may have one name."""

import hashlib
import re
from dataclasses import dataclass, field
from typing import Self

#: What a bearer token may consist of, so that it can be sent in a header at all (RFC 6750 allows less).
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
#: Names that stand for other doors, where jobs, limits and spending are told by name.
_TAKEN = frozenset({"celery"})


@dataclass(frozen=True, slots=True)
class Key:
    """Who calls, and the SHA-256 of the secret that shows it."""

    name: str
    digest: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of `name:secret`, or of a bare secret, which is named by its hash. Raises `ValueError` without the secret."""
        before, colon, after = text.partition(":")
        secret = after if colon else before
        if not _SENDABLE.fullmatch(secret):
            raise ValueError("each secret must be printable ASCII without spaces, or no header can carry it")
        digest = hashlib.sha256(secret.encode()).digest()
        name = before if colon else f"key-{digest.hex()[:8]}"
        if not _NAME.fullmatch(name):
            # It may be the beginning of a secret that has a colon.
            raise ValueError(
                "a name, before the colon, must have 1 to 32 of a-z 0-9 _ - and begin with a letter or digit; "
                "a secret with a colon in it needs a name"
            )
        if name in _TAKEN:
            raise ValueError(f"{name} is no name for a key: it stands for the jobs of another door")
        return cls(name, digest)
