"""Generate ids on the client, so that every call is safe to repeat.

An id is a ULID (github.com/ulid/spec): 26 characters of Crockford's base32, 10 for the Unix time in milliseconds
(48 bits), then 16 random ones (80 bits). Ids sort by creation time. Within one millisecond their order is random.

They are lower case, like the ids that the service generates, so that both sort together. Earlier versions of the client
wrote capital letters. Lookups therefore accept a ULID in either case (`spellings`).
"""

import re
import secrets
import time
from collections.abc import Callable

from boomerang_client.errors import UsageError

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 26
TIME_BITS = 48
RANDOM_BITS = 80

#: A ULID in one case. Jobs of a batch add their line number.
_ULID = re.compile(r"[0-7](?:[0-9a-hjkmnp-tv-z]{25}|[0-9A-HJKMNP-TV-Z]{25})(?:\.[0-9]+)?")


def new_id(clock: Callable[[], float] = time.time, random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """Return a new id for a job or a batch: ordered by time, safe in URLs, and hard to guess."""
    milliseconds = int(clock() * 1000) & ((1 << TIME_BITS) - 1)
    number = milliseconds << RANDOM_BITS | random_bits(RANDOM_BITS)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))


def spellings(id_: str) -> tuple[str, ...]:
    """Return the ways in which an id may be stored: as given and, for a ULID, also in the other case.

    Other ids have one spelling, because the service distinguishes capital letters. Raises UsageError for what cannot
    be an id.
    """
    # "." and ".." would be resolved as folders in the URL.
    if id_ in {"", ".", ".."}:
        raise UsageError(f"{id_!r} is not an id. Pass the id of a job or a batch.")
    swapped = id_.swapcase()
    return (id_, swapped) if _ULID.fullmatch(id_) and swapped != id_ else (id_,)
