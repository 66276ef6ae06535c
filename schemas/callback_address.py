"""The URL path for the provider's callbacks: it names the attempt, and its token proves that this service made it.

A callback is unsigned by default, and its body may contain the upstream's task id instead of the gateway's. Only the
path is therefore proof of which attempt a callback is about.

A token is `<key id>.<HMAC>`. The key id names the secret that signed it. Tokens of an earlier version are an HMAC
alone, so that each secret must be tried.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from urllib.parse import quote

#: 32 characters of base64url are 192 bits. A token should have at least 128.
_LENGTH = 32
#: 36 bits: two secrets hardly ever have the same id, and nothing breaks if they do.
_ID_LENGTH = 6
_ID_OF = "boomerang callback key id"


def _hmac(message: str, secret: str, length: int) -> bytes:
    # surrogatepass: a hostile path may contain anything, and must be refused, not raise an exception.
    key, text = secret.encode("utf-8", "surrogatepass"), message.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, text, hashlib.sha256))[:length]


def key_id(secret: str) -> str:
    """Return the id of a secret for use in tokens. It does not reveal the secret."""
    # No attempt's id contains a space, so that this value is never a valid token.
    return _hmac(_ID_OF, secret, _ID_LENGTH).decode("ascii")


def callback_path(external_task_id: str, secret: str) -> str:
    """Return `/callbacks/<external_task_id>/<key id>.<HMAC>`, with the id percent-encoded.

    Raises `ValueError` for an empty secret, with which anyone could sign.
    """
    if not secret:
        raise ValueError("the callback secret is empty: set BOOMERANG_CALLBACK_SECRETS")
    token = f"{key_id(secret)}.{_hmac(external_task_id, secret, _LENGTH).decode('ascii')}"
    return f"/callbacks/{quote(external_task_id, safe='')}/{token}"


def token_is_valid(external_task_id: str, token: str, secrets: Sequence[str]) -> bool:
    """Return whether one of `secrets` made this token for this id. Never raises.

    The token is compared in constant time with that of the secret that it names, or of every secret if it names none.
    An empty secret never matches.
    """
    named, dot, proof = token.partition(".")
    given = (proof if dot else token).encode("utf-8", "surrogatepass")
    candidates = [secret for secret in secrets if secret and (not dot or key_id(secret) == named)]
    matches = [hmac.compare_digest(_hmac(external_task_id, secret, _LENGTH), given) for secret in candidates]
    return any(matches)
