"""Results fetched into a folder: whole files under stable names, several at once, what is there left alone."""

import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.exceptions import RequestException

from boomerang_client.errors import NotSaved
from boomerang_client.records import Job, Output
from boomerang_client.responses import Saved
from boomerang_client.transport import AWAY, ClosingAdapter, Patience, pause_before

AT_ONCE = 8
TRIES = 4
#: Bytes of one result, and seconds to connect and to wait for the next bytes.
LARGEST = 512 * 1024 * 1024
TIMEOUT = (10.0, 60.0)
_CHUNK = 256 * 1024

#: What a result begins with → the end of its file's name.
_KINDS = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_ENDS = ("png", "jpg", "jpeg", "webp", "gif", "mp4", "webm", "bin")


class Saver:
    """Fetches results from where they lie, which is not the service: the key is never sent there.

    `at_once`: downloads at the same time. Proxies are those of the environment.
    """

    def __init__(self, folder: Path | str, at_once: int = AT_ONCE) -> None:
        self._folder = Path(folder)
        self._at_once = at_once
        self._stopped = threading.Event()
        self._session = requests.Session()
        self._session.auth = lambda request: request  # none, not even the .netrc's
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = ClosingAdapter(
            pool_maxsize=at_once,
            max_retries=Patience(TRIES - 1, status_forcelist=(429, *AWAY), backoff_factor=0.5, raise_on_status=False),
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        self._session.close()

    def save(self, jobs: Iterable[Job]) -> Iterator[Saved]:
        """Save the results of the jobs, as they come; those without any are passed over. Raises NotSaved.

        Leaving the iterator ends the downloads.
        """
        make_folder(self._folder)
        under_way: set[Future[Saved]] = set()
        with ThreadPoolExecutor(self._at_once, "boomerang-save") as pool:
            try:
                for job in jobs:
                    for index in range(len(job.output)):
                        under_way.add(pool.submit(self.one, job, index))
                    while len(under_way) >= 4 * self._at_once:
                        done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                        yield from (each.result() for each in done)
                    done = {each for each in under_way if each.done()}
                    under_way -= done
                    yield from (each.result() for each in done)
                while under_way:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)

    def one(self, job: Job, index: int) -> Saved:
        """Save one result of a job; what cannot be had is said in `Saved.error`."""
        output = job.output[index]
        # An id may have colons, which not every file system takes, but no plus.
        name = f"{quote(job.id.replace(':', '+'), safe='+')}-{index + 1}"
        for end in _ENDS:
            path = self._folder / f"{name}.{end}"
            if path.exists():
                return Saved(job=job.id, url=output.url, path=path, was_there=True)
        try:
            return Saved(job=job.id, url=output.url, path=self._fetch(output, name))
        except NotSaved as error:
            return Saved(job=job.id, url=output.url, error=str(error))

    def _fetch(self, output: Output, name: str) -> Path:
        for attempt in range(1, TRIES + 1):
            try:
                return self._try(output, name)
            except RequestException as error:  # noqa: PERF203 -- a repeat
                # The answer's beginning came: what broke off later is not repeated by urllib3.
                if attempt == TRIES or self._stopped.is_set():
                    raise NotSaved(f"{output.url} cannot be fetched ({type(error).__name__}). Try again.") from error
                self._stopped.wait(pause_before(attempt, 0.5))
            except OSError as error:
                raise NotSaved(f"{self._folder / name} cannot be written: {error.strerror}.") from error
        raise AssertionError  # the loop returns or raises

    def _try(self, output: Output, name: str) -> Path:
        with closing(self._session.get(output.url, stream=True, timeout=TIMEOUT)) as response:
            if not response.ok:
                gone = response.status_code in (403, 404, 410)
                remedy = "The provider has deleted it, or its address has expired" if gone else "Try again"
                raise NotSaved(f"{output.url} was refused (HTTP {response.status_code}). {remedy}.")
            part = self._folder / f".{name}.{secrets.token_hex(4)}.part"
            try:
                with part.open("xb") as file:
                    head = self._copy(response, file)
                    file.flush()
                    os.fsync(file.fileno())
                target = self._folder / f"{name}.{_end(head, output)}"
                part.replace(target)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise
        return target

    def _copy(self, response: requests.Response, file: BinaryIO) -> bytes:
        """Write the whole answer (one cut short raises); its first bytes. Raises NotSaved."""
        head, size = b"", 0
        for chunk in response.iter_content(_CHUNK):
            if self._stopped.is_set():
                raise NotSaved("Stopped.")
            head, size = head or chunk[:16], size + len(chunk)
            if size > LARGEST:
                raise NotSaved(f"{response.url} is larger than {LARGEST:,} bytes.")
            file.write(chunk)
        if not size:
            raise NotSaved(f"{response.url} is empty. Try again.")
        return head


def make_folder(folder: Path) -> None:
    """Make the folder; raises NotSaved."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotSaved(f"The folder {folder} cannot be made: {error.strerror}. Choose another.") from error


def _end(head: bytes, output: Output) -> str:
    by_content = next((end for magic, end in _KINDS if head.startswith(magic)), None)
    if output.type == "image" and by_content is None:
        raise NotSaved(f"{output.url} is no image. The provider may have deleted it.")
    by_name = PurePosixPath(unquote(urlsplit(output.url).path)).suffix[1:].lower()
    return by_content or (by_name if by_name in _ENDS else "bin")
