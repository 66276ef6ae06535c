"""Parts of names that every file system takes, and that stay different where they must.

Windows and macOS do not tell `Fox` from `fox`; macOS does not tell the two ways to write `é`; Windows has no `:` and
reserves `con`. `~` marks what was added or replaced: no id and no text brings one of its own.
"""

import re
import unicodedata
from base64 import b32encode
from hashlib import sha256

MARK = "~"
#: Bytes of an encoded id, and of encoded text, at most.
MOST_ID, MOST_TEXT = 120, 60
#: Characters of a hash: 130 bits.
HASH = 26
#: Characters of an id that stay what they are.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_@-][A-Za-z0-9._@-]*")
#: `:` is frequent in ids, so it gets a sign of its own.
_COLON = f"{MARK}c"
_KEPT = frozenset("-_,+=() ")
#: The beginnings of names that Windows keeps for devices, up to the first dot.
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)


def encode_id(text: str, endings: frozenset[str] = frozenset()) -> str:
    """Encode an id: different ids get parts that differ without regard to case. At most MOST_ID bytes.

    `endings`: of names that other files have, such as `.json`; no encoded id has one.
    """
    body = text.replace(":", _COLON)
    encoded = body + _case(text)
    ending = text[text.rfind(".") :].casefold() if "." in text else ""
    if _PLAIN_ID.fullmatch(text.replace(":", "_")) and len(encoded) <= MOST_ID and ending not in endings:
        return encoded
    readable = re.sub(r"[^A-Za-z0-9_@-]", "_", text)[: MOST_ID - HASH - 2]
    return f"{readable}{MARK}h{short_hash(text)}"


def encode_text(text: str) -> str:
    """Encode text for people to read, at most MOST_TEXT bytes. Different texts may get the same part.

    None has an `@`, so that a label cannot name the folder of another producer's job.
    """
    normal = unicodedata.normalize("NFC", text)
    safe = "".join(char if char.isalnum() or char in _KEPT else "_" for char in normal)
    return safe.encode()[:MOST_TEXT].decode("utf-8", "ignore").strip() or "_"


def short_hash(text: str) -> str:
    """Return 130 bits of the text's SHA-256, in letters and digits."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
    return b32encode(digest).decode().lower()[:HASH]


def safe_part(part: str) -> str:
    """Make a part of a path, composed of literals and encoded values, one that Windows takes."""
    if part.partition(".")[0].rstrip(" ").casefold() in _RESERVED:
        part = MARK + part
    return part + MARK if part.endswith((".", " ")) else part


def _case(text: str) -> str:
    """Return what tells the text from others that differ in case only."""
    letters = [char for char in text if char.isalpha()]
    upper = sum(char.isupper() << place for place, char in enumerate(letters))
    if not upper:
        return ""
    return f"{MARK}u" if upper == (1 << len(letters)) - 1 else f"{MARK}x{upper:x}"
