"""The versions of the static files: a hash of what each contains."""

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "static"
#: Seconds for which browsers may keep a static file. Its address changes with its content.
MAX_AGE = 31_536_000
_DIGITS = 12


@cache
def version_of(name: str) -> str | None:
    """Return the version of a static file, or None if there is no such file."""
    path = FOLDER / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS] if path.is_file() else None
