"""Small versions of saved images: each is made once, and kept in the result store.

A process of its own decodes the image (webhook.render_thumbnail), with limits, and few of them run at once.
"""

import importlib.util
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import BoundedSemaphore

from jobs.blobs.bucket import Bucket
from jobs.errors import StoreUnavailable
from jobs.results.thumbnails import thumbnail_name
from jobs.saved import SavedOutput
from webhook import render_thumbnail
from webhook.http.problems import ProblemError, unavailable

CONTENT_TYPE = "image/webp"
#: Most pixels and bytes of an image. A decoded image needs four bytes for each pixel, and a copy.
MOST_PIXELS, MOST_BYTES = 40_000_000, 64 * 1024 * 1024
#: Images that a process decodes at once, and the most seconds for one: of processor time, and in all.
AT_ONCE, MOST_SECONDS, LONGEST = 2, 10, 60.0
#: Seconds between two looks at whether a request that waits is still wanted, and the longest wait.
_POLL, _LONGEST_WAIT = 0.5, 60.0
_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
#: Signals that end a process because of the file: the limit of processor time, and faults of a decoder.
_SIGNALS = frozenset({signal.SIGXCPU, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL})
_SCRIPT = Path(render_thumbnail.__file__)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A thumbnail: the name of its object, its size in bytes, and its bytes if it was made just now."""

    name: str
    size: int
    data: bytes | None = None


class Renderer:
    """Renders thumbnails, a few at once."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = BoundedSemaphore(at_once)

    def of_file(self, image: bytes, side: int, is_lost: Callable[[], bool] = lambda: False) -> bytes:
        """Return the thumbnail of an image that is in no result store. It is not kept. Raises as `Thumbnails.get`."""
        require_pillow()
        with self.turn(is_lost):
            data, problem = _render(image, side)
        if problem:
            raise _none(problem)
        return data

    @contextmanager
    def turn(self, is_lost: Callable[[], bool]) -> Iterator[None]:
        """Wait until an image may be decoded. Raises a problem, 503, after too long, or if `is_lost` returns true."""
        for _ in range(int(_LONGEST_WAIT / _POLL)):
            if self._free.acquire(timeout=_POLL):
                break
            if is_lost():
                raise unavailable("Another producer needs the place of this request. Send the same again.")
        else:
            raise unavailable("Too many thumbnails are being made. Send the same again later.")
        try:
            yield
        finally:
            self._free.release()


class Thumbnails:
    """Makes and finds the thumbnails of a result store."""

    def __init__(self, store: Bucket, at_once: int = AT_ONCE, renderer: Renderer | None = None) -> None:
        self._store = store
        self._renderer = renderer or Renderer(at_once)

    def get(self, output: SavedOutput, side: int, is_lost: Callable[[], bool] = lambda: False) -> Thumbnail:
        """Return the thumbnail of an image, and make it if it is not there.

        `is_lost`: whether the request has lost its place while it waits. Raises a problem (410: the image is gone, 422:
        it has no thumbnail, 501: no Pillow, 503: too many are being made), and `StoreUnavailable`.
        """
        if problem := _problem(output):
            raise _none(problem)
        name = thumbnail_name(output.sha256, side)
        if found := self._find(name):
            return found
        require_pillow()
        with self._renderer.turn(is_lost):
            # Another request may have made it meanwhile.
            return self._find(name) or self._make(output, side, name)

    def _find(self, name: str) -> Thumbnail | None:
        found = self._store.info(name)
        if found is None:
            return None
        if not found.size:
            raise _none("it cannot be decoded")
        return Thumbnail(name, found.size)

    def _make(self, output: SavedOutput, side: int, name: str) -> Thumbnail:
        image = self._store.read(output.name)
        if image is None:
            raise deleted()
        data, problem = _render(image, side)
        try:
            # An empty file says that there is none, so that nobody can make the service try it again and again.
            self._store.write(name, data, CONTENT_TYPE)
        except StoreUnavailable:
            log.warning("the thumbnail %s cannot be stored", name, exc_info=True)
        if self._store.info(output.name) is None:
            # The image was removed meanwhile, and its thumbnails with it: this one came too late.
            self._store.remove([name])
            raise deleted()
        if problem:
            raise _none(problem)
        return Thumbnail(name, len(data), data)


def require_pillow() -> None:
    """Raise a problem, 501, if this process cannot make thumbnails."""
    if importlib.util.find_spec("PIL") is None:
        raise ProblemError(
            501, "This service makes no thumbnails. Its operator can install Pillow: boomerang-jobs[thumbnails]."
        )


def deleted() -> ProblemError:
    """Return the problem of a saved file that is no longer there."""
    return ProblemError(
        HTTPStatus.GONE, "The saved file was deleted from the result store. The job is paid for: do not send it again."
    )


def _problem(output: SavedOutput) -> str:
    if output.content_type not in _TYPES:
        return f"it is {output.content_type}, no image that can be decoded"
    if output.size > MOST_BYTES:
        return f"it has {output.size:,} bytes, more than {MOST_BYTES:,}"
    # The header names the size: no pixel was decoded.
    if (pixels := (output.width or 0) * (output.height or 0)) > MOST_PIXELS:
        return f"it has {pixels:,} pixels, more than {MOST_PIXELS:,}"
    return ""


def _none(why: str) -> ProblemError:
    return ProblemError(422, f"There is no thumbnail of this output: {why}. Fetch it without `size`.")


def _render(image: bytes, side: int) -> tuple[bytes, str]:
    """Return the thumbnail, or b"" and why there is none. Raises a problem, 503, if the machine is at fault."""
    command = [sys.executable, "-I", "-B", str(_SCRIPT), str(side), str(MOST_PIXELS), str(MOST_SECONDS)]
    try:
        # Without the environment, whose secrets it does not need.
        done = subprocess.run(command, input=image, capture_output=True, env={}, timeout=LONGEST, check=False)  # noqa: S603 - our own script
    except subprocess.TimeoutExpired:
        raise unavailable("The thumbnail took too long to make. Send the same again later.") from None
    if done.returncode == 0 and done.stdout:
        return done.stdout, ""
    log.warning("no thumbnail: exit code %d %s", done.returncode, done.stderr[-500:].decode("utf-8", "replace"))
    if done.returncode == render_thumbnail.IMPOSSIBLE:
        return b"", done.stderr.decode("utf-8", "replace")
    if -done.returncode in _SIGNALS:
        return b"", "it cannot be decoded within the limits of memory and time"
    # Such as SIGTERM, the SIGKILL of a machine without memory, or a Pillow that cannot be imported.
    raise unavailable("The process that makes thumbnails ended early. Send the same again later.")
