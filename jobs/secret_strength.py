"""The least strength of secrets that an operator chooses: keys, tokens, and what signs addresses and cookies.

A valid key is never refused because somebody guesses from the same address (`webhook.access.rate_limits`), so guessing
must be hopeless by itself.
"""

from collections.abc import Iterable

from marshmallow import ValidationError

MIN_SECRET = 16
#: Different characters. Of two million random secrets of 16 hexadecimal digits, one has fewer.
_LEAST_DIFFERENT = 5
MAKE_ONE = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


def weakness(secret: str) -> str | None:
    """Return why a secret can be guessed, without the secret itself, or None."""
    if len(secret) < MIN_SECRET:
        return f"is a secret of {len(secret)} characters, and at least {MIN_SECRET} are needed; {MAKE_ONE}"
    if len(set(secret)) < _LEAST_DIFFERENT:
        return f"is a secret that repeats few characters; {MAKE_ONE}"
    return None


def hard_to_guess(value: str) -> None:
    """Validate a setting that is a secret. Raises marshmallow's `ValidationError`."""
    if problem := weakness(value):
        raise ValidationError(problem)


def all_hard_to_guess(values: Iterable[str]) -> None:
    """Validate a setting that lists secrets. They are named by number."""
    if problems := [f"number {at} {problem}" for at, value in enumerate(values, 1) if (problem := weakness(value))]:
        raise ValidationError(problems)
