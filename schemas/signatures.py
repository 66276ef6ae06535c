"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over `<id>.<timestamp>.<body>`.

Ours on what we post to producers; the provider's on its callbacks, where it signs them.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime

from marshmallow import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PREFIX = "whsec_"
#: Bytes of a secret, by the specification.
SHORTEST, LONGEST = 24, 64


def secret_problem(secret: str) -> str | None:
    """What is wrong with a secret, without showing it; None when it can be used."""
    remedy = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)"
    if not secret.startswith(PREFIX):
        return f"each must begin with {PREFIX}; {remedy}"
    try:
        size = len(b64decode(secret.removeprefix(PREFIX), validate=True))
    except binascii.Error:
        return f"each must be base64 after {PREFIX}; {remedy}"
    if not SHORTEST <= size <= LONGEST:
        return f"each must stand for {SHORTEST} to {LONGEST} bytes, one stands for {size}; {remedy}"
    return None


def check_secrets(secrets: Sequence[str]) -> None:
    """For settings: raises marshmallow's ValidationError."""
    if problems := {problem for secret in secrets if (problem := secret_problem(secret))}:
        raise ValidationError(sorted(problems))


def signed(message_id: str, at: datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers, signed with each of the secrets, so that receivers may change theirs one after another.

    `at` in UTC; the whole second is what is signed.
    """
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def is_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Whether any of the secrets signed this body, within five minutes of now. No header makes it raise."""
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            continue  # a header or a body that cannot be read is not signed either
        return True
    return False
