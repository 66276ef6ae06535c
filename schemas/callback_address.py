"""The address on which the provider calls back: it names the attempt and proves that we made it.

Callbacks are unsigned by default and may carry the upstream's task id instead of the one that we know, so the address
is the only thing that a callback can be believed to know.

A token is `<key id>.<HMAC>`: the id says which secret signed, so that each is verified by that secret alone. Tokens
from before there were ids are an HMAC alone, and any secret may have made them.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from urllib.parse import quote

#: 32 characters of base64url are 192 bits; a receiver should have no fewer than 128.
_LENGTH = 32
#: 36 bits: two of a handful of secrets hardly ever share an id, and nothing breaks if they do.
_ID_LENGTH = 6
_ID_OF = "boomerang callback key id"


def _hmac(message: str, secret: str, length: int) -> bytes:
    # surrogatepass: a hostile path may hold anything, and must get a "no", not an exception
    key, text = secret.encode("utf-8", "surrogatepass"), message.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(hmac.digest(key, text, hashlib.sha256))[:length]


def key_id(secret: str) -> str:
    """What a secret is called in tokens; it says nothing of the secret itself."""
    # No attempt's id holds a space: this can be nobody's token.
    return _hmac(_ID_OF, secret, _ID_LENGTH).decode("ascii")


def callback_path(external_task_id: str, secret: str) -> str:
    """`/callbacks/<external_task_id>/<key id>.<HMAC>`, the id percent-encoded.

    ValueError for an empty secret, which anybody could sign with.
    """
    if not secret:
        raise ValueError("the callback secret is empty: set BOOMERANG_CALLBACK_SECRETS")
    token = f"{key_id(secret)}.{_hmac(external_task_id, secret, _LENGTH).decode('ascii')}"
    return f"/callbacks/{quote(external_task_id, safe='')}/{token}"


def token_is_valid(external_task_id: str, token: str, secrets: Sequence[str]) -> bool:
    """Whether one of `secrets` made `token` for this id: the one that it names, any where it names none.

    Bytes are compared, in constant time and under every secret that may have made it; no text makes it raise. An empty
    secret verifies nothing.
    """
    named, dot, proof = token.partition(".")
    given = (proof if dot else token).encode("utf-8", "surrogatepass")
    asked = [secret for secret in secrets if secret and (not dot or key_id(secret) == named)]
    matches = [hmac.compare_digest(_hmac(external_task_id, secret, _LENGTH), given) for secret in asked]
    return any(matches)
