"""Ids made on the client: what makes every call safe to repeat.

An id is 26 characters of Crockford's base32 (digits and capital letters without I, L, O, U): 10 for the Unix time in
milliseconds (48 bits), then 16 of randomness (80 bits). The layout is ULID's (github.com/ulid/spec), so ids sort by
the time at which they were made; within one millisecond their order is random.
"""

import secrets
import time
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
TIME_BITS = 48
RANDOM_BITS = 80


def new_id(clock: Callable[[], float] = time.time, random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """A new id for a job or a batch: time-ordered, URL-safe, unguessable in its last 16 characters."""
    milliseconds = int(clock() * 1000) & ((1 << TIME_BITS) - 1)
    number = milliseconds << RANDOM_BITS | random_bits(RANDOM_BITS)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
