"""Addresses of saved results. A signed one is a link: whoever has it may fetch that one file until the link expires.

A link contains the service's id of the job, so that it works without a key, and nothing that opens anything else.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import quote

from itsdangerous import Signer

from jobs.settings import Settings
from jobs.source_expiry import expiry_in

#: Names of the parameters of a link: its end in seconds since 1970, and the signature.
EXPIRES, SIGNATURE = "expires", "signature"
#: Separates these signatures from others that are made with the same secrets.
_SALT = b"boomerang: link to a saved result"
#: All links of this share of a link's life expire at the same time, so that an answer that is asked for twice is the
#: same, and caches can use it.
_STEP = 0.1
#: A SHA-256 in URL-safe base64. The decoder would skip other characters.
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Link:
    """The address of a saved result. `expires_at`: when it stops working; None: it needs a key, and works always."""

    url: str
    expires_at: datetime | None


class Links:
    """Makes and checks links.

    `base`: the URL of the webhook; None where it is unknown. `secrets`: the first signs, all are accepted; without any,
    addresses are not signed. `life`: seconds that a link works, at least; a tenth more at most. `expiry_of`: for how
    many seconds the provider of a lane is assumed to keep a result.
    """

    def __init__(
        self,
        base: str | None,
        secrets: Sequence[str],
        life: float,
        clock: Callable[[], float] = time.time,
        expiry_of: Callable[[str], float] | None = None,
    ) -> None:
        self.base = base.rstrip("/") if base else None
        self._signer = (
            # The keys are derived once: a list signs thousands of links.
            Signer(
                [hmac.digest(secret.encode(), _SALT, "sha256") for secret in reversed(secrets)],
                key_derivation="none",
                digest_method=hashlib.sha256,
            )
            if secrets
            else None
        )
        self._expiry_of = expiry_of
        self._life, self._step = life, max(1, int(life * _STEP))
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the links of a process."""
        return cls(settings.link_base, settings.link_keys, settings.link_life, expiry_of=settings.result_expiry_of)

    def at(self, base: str) -> Self:
        """Return the same links, with the webhook at another URL."""
        other = copy(self)
        other.base = base.rstrip("/")
        return other

    @property
    def signed(self) -> bool:
        """Whether its addresses work without a key."""
        return self._signer is not None

    def make(self, job_id: str, index: int) -> Link | None:
        """Return the address of the output `index` of a saved job; None where the webhook's URL is unknown."""
        if self.base is None:
            return None
        url = f"{self.base}/v1/jobs/{quote(job_id, safe='')}/outputs/{index}"
        if self._signer is None:
            return Link(url, None)
        end = int((self._clock() + self._life) // self._step + 1) * self._step
        signature = self._signer.get_signature(_signed_text(job_id, index, end)).decode()
        return Link(f"{url}?{EXPIRES}={end}&{SIGNATURE}={signature}", datetime.fromtimestamp(end, UTC))

    def source_expiry(self, url: str, lane: str, since: datetime | None) -> datetime | None:
        """Return when the provider's address stops working: what it says itself, or what is assumed of its lane."""
        named = expiry_in(url)
        if named or self._expiry_of is None or since is None:
            return named
        return since + timedelta(seconds=self._expiry_of(lane))

    def is_genuine(self, job_id: str, index: int, expires: int, signature: str) -> bool:
        """Return whether this service signed the link. It may have expired."""
        if self._signer is None or not _SIGNATURE.fullmatch(signature):
            return False
        return self._signer.verify_signature(_signed_text(job_id, index, expires), signature)

    def has_expired(self, expires: int) -> bool:
        """Return whether a link with this end no longer works."""
        return self._clock() >= expires


#: For what knows no address of the webhook: views keep the provider's addresses.
NO_LINKS = Links(None, (), 0)


def _signed_text(job_id: str, index: int, expires: int) -> bytes:
    # No id contains a line feed.
    return f"{job_id}\n{index}\n{expires}".encode("utf-8", "surrogatepass")
