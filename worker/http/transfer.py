"""The transfer of a file, over all its connections: what has come, how long it may take, whether it can continue.

A peer that is silent or too slow ends it. What breaks off is continued where the server can do that (RFC 9110, 14).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, Any

import requests

from jobs.blobs.full_disk import describe
from worker.errors import DownloadFailed
from worker.http.deadline import Deadline
from worker.http.inflate import CODINGS, PIECE, Inflater

#: Seconds that a download may take beside those that the least rate allows.
GRACE = 20.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """`size`: most bytes of a file. `rate`: least bytes per second, on average and after GRACE."""

    size: int
    rate: float


@dataclass(frozen=True, slots=True)
class Body:
    """What was downloaded: SHA-256 in hexadecimal, and bytes."""

    sha256: str
    size: int


@dataclass(slots=True)
class Transfer:
    """The state of a transfer: it writes the bytes that come into `file`, and counts them."""

    file: IO[bytes]
    bounds: Bounds
    begun: float
    seconds: float
    alive: Callable[[], None]
    received: int = 0  #: bytes of the body, as they were sent
    size: int = 0  #: bytes written
    digest: Any = field(default_factory=sha256)
    validator: str = ""  #: what a continued transfer must still match
    encoded: bool = False
    total: int | None = None  #: bytes of the body, as the first answer announced them
    deadline: Deadline = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the time that a silent peer gets."""
        self.deadline = Deadline(min(self.seconds, GRACE))

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the next request."""
        if not self.received:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self.validator}

    def note(self, headers: Mapping[str, str]) -> None:
        """Note how the body is encoded, and how to continue it."""
        coding = headers.get("Content-Encoding", "").strip().lower()
        self.encoded = coding not in ("", "identity")
        if self.encoded and coding not in CODINGS:
            raise DownloadFailed("the server compressed it in a way that was not asked for")
        self.validator = _validator(headers) if headers.get("Accept-Ranges", "").lower() == "bytes" else ""
        self.total = self._expected(headers)

    def has_changed(self, headers: Mapping[str, str]) -> bool:
        """Return whether a partial answer is of another file than the first answer (RFC 9110, 14.4)."""
        total = headers.get("Content-Range", "").rpartition("/")[2].strip()
        other_size = self.total is not None and total.isdecimal() and total != str(self.total)
        return other_size or _validator(headers) not in ("", self.validator)

    def check_continues(self, headers: Mapping[str, str]) -> None:
        """Check that an answer begins where the last one ended."""
        if not headers.get("Content-Range", "").startswith(f"bytes {self.received}-"):
            raise DownloadFailed("the server continued the transfer at another byte")

    def take(self, response: requests.Response) -> None:
        """Write the body of an answer. Raises `DownloadFailed` if it is too large."""
        expected = self._expected(response.headers)
        if expected is not None and expected > self.bounds.size:
            raise self._too_large(expected)
        inflater = Inflater() if self.encoded else None
        for data in self._read(response):
            for piece in inflater.pieces(data) if inflater else (data,):
                self._write(piece)
        if inflater:
            self._write(inflater.end())
        if expected is not None and self.received != expected:
            raise OSError(f"{self.received:,} of {expected:,} bytes came")

    def is_late(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self.deadline.at

    def age(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self.begun

    def can_continue(self) -> bool:
        """Return whether the rest can be asked for, or nothing came yet that a new transfer would repeat."""
        return bool(self.received and self.validator and not self.encoded)

    def broken(self, error: Exception) -> str:
        """Describe a transfer that broke off."""
        after = f" after {self.received:,} bytes" if self.received else ""
        return f"the download failed{after}: {type(error).__name__}"

    def restart(self) -> None:
        """Forget what came."""
        self.file.seek(0)
        self.file.truncate()
        self.received = self.size = 0
        self.digest = sha256()
        self.validator = ""

    def body(self) -> Body:
        """Return what was downloaded."""
        return Body(self.digest.hexdigest(), self.size)

    def _expected(self, headers: Mapping[str, str]) -> int | None:
        """Return the bytes that the whole body must have; None if its end shows only when it comes."""
        if "Transfer-Encoding" in headers or "Content-Length" not in headers:
            return None
        # A repeated header is joined, and allowed with one value (RFC 9110, 8.6).
        length, *others = {each.strip() for each in headers["Content-Length"].split(",")}
        if others or not (length.isascii() and length.isdigit()):
            raise DownloadFailed("the server's Content-Length is no number")
        return self.received + int(length)

    def _read(self, response: requests.Response) -> Iterator[bytes]:
        while data := response.raw.read1(PIECE, decode_content=False):
            self.received += len(data)
            if self.received > self.bounds.size:  # also of a compressed body that expands to nothing
                raise self._too_large(self.received)
            # The least rate: what has come pays for the time until the next bytes.
            allowed = min(self.seconds, GRACE + self.received / self.bounds.rate)
            self.deadline.at = self.begun + allowed
            self.alive()
            yield data

    def _write(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self.bounds.size:
            raise self._too_large(self.size)
        self.digest.update(piece)
        try:
            self.file.write(piece)
        except OSError as error:  # not the server's
            raise DownloadFailed(f"it cannot be written here: {describe(error)}") from error

    def _too_large(self, size: int) -> DownloadFailed:
        return DownloadFailed(
            f"it has {size:,} bytes or more, and BOOMERANG_RESULT_MAX_SIZE allows {self.bounds.size:,}"
        )


def _validator(headers: Mapping[str, str]) -> str:
    """Return what tells one version of a file from others: a strong ETag, or else the time of its last change."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")
