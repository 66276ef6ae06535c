"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over `<id>.<timestamp>.<body>`.

The service signs its notifications to producers, and verifies the provider's callbacks if the provider signs them.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime

from marshmallow import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PREFIX = "whsec_"
#: Bytes of a secret, from the specification.
MIN_BYTES, MAX_BYTES = 24, 64
#: Different bytes of a secret. Random ones have far more.
_LEAST_DIFFERENT = 6


def secret_problem(secret: str) -> str | None:
    """Return what is wrong with a secret, without the secret itself, or None if it is valid."""
    remedy = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)"
    if not secret.startswith(PREFIX):
        return f"each must begin with {PREFIX}; {remedy}"
    try:
        decoded = b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return f"each must be base64 after {PREFIX}; {remedy}"
    if not MIN_BYTES <= len(decoded) <= MAX_BYTES:
        return f"each must encode {MIN_BYTES} to {MAX_BYTES} bytes, and one encodes {len(decoded)}; {remedy}"
    if len(set(decoded)) < _LEAST_DIFFERENT:
        return f"each must be random, and one repeats few bytes; {remedy}"
    return None


def check_secrets(secrets: Sequence[str]) -> None:
    """Validate the secrets of a setting. Raises marshmallow's `ValidationError`."""
    if problems := {problem for secret in secrets if (problem := secret_problem(secret))}:
        raise ValidationError(sorted(problems))


def signed(message_id: str, at: datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """Return the three headers, signed with each of the secrets, so that receivers can replace theirs one by one.

    `at` in UTC. The signature covers whole seconds.
    """
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def is_signed(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Return whether one of the secrets signed this body within five minutes of now. Never raises."""
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            continue  # an unreadable header or body counts as unsigned
        return True
    return False
