"""The address on which the provider calls back: it names the attempt and proves that we made it.

Callbacks are unsigned by default and may carry the upstream's task id instead of the one that we know, so the address
is the only thing that a callback can be believed to know.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from urllib.parse import quote

#: 32 characters of base64url are 192 bits; a receiver should have no fewer than 128.
_TOKEN_LENGTH = 32


def _token(external_task_id: str, secret: str) -> bytes:
    # surrogatepass: a hostile path may hold anything, and must get a "no", not an exception
    key, message = secret.encode("utf-8", "surrogatepass"), external_task_id.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, message, hashlib.sha256))[:_TOKEN_LENGTH]


def callback_path(external_task_id: str, secret: str) -> str:
    """`/callbacks/<external_task_id>/<token>`, the id percent-encoded.

    ValueError for an empty secret, which anybody could sign with.
    """
    if not secret:
        raise ValueError("the callback secret is empty: set BOOMERANG_CALLBACK_SECRETS")
    return f"/callbacks/{quote(external_task_id, safe='')}/{_token(external_task_id, secret).decode('ascii')}"


def token_is_valid(external_task_id: str, token: str, secrets: Sequence[str]) -> bool:
    """Whether any of `secrets` made `token` for this id.

    Bytes are compared, in constant time and under every secret whatever the outcome; no text makes it raise. An empty
    secret verifies nothing.
    """
    given = token.encode("utf-8", "surrogatepass")
    matches = [hmac.compare_digest(_token(external_task_id, secret), given) for secret in secrets if secret]
    return any(matches)
