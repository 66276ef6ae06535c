"""Download results into a folder: complete files with stable names. Existing files stay."""

import errno
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.exceptions import RequestException

from boomerang_client.downloading import Downloader, TooSlow, limited_time
from boomerang_client.errors import BoomerangError, NotSaved
from boomerang_client.new_files import new_file, resumed_file
from boomerang_client.outputs import Output
from boomerang_client.public_hosts import NotPublic
from boomerang_client.record_fields import JobFields
from boomerang_client.request_retries import UNAVAILABLE, JitteredRetry, pause_before
from boomerang_client.responses import Saved
from boomerang_client.saved_files import SavedFiles, WrongContent
from boomerang_client.stopping import Stop
from boomerang_client.transport import Transport

AT_ONCE = 8
TRIES = 4
#: Maximum bytes of one result.
LARGEST = 512 * 1024 * 1024
_CHUNK = 256 * 1024

#: What a full disk raises, and a quota that is used up.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: The first bytes of a result → the extension of its file.
_EXTENSIONS_BY_CONTENT = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_EXTENSIONS = ("png", "jpg", "jpeg", "webp", "gif", "mp4", "webm", "bin")


class _DiskFull(NotSaved):
    """No further result can be saved."""


class Saver:
    """Downloads saved results from the service (`transport`), and others from the provider's storage.

    The service's key is sent to the service only.

    `at_once` is the number of simultaneous downloads. Only public hosts are called, at each redirect too, unless
    `private_hosts`. Proxies are those of the environment.
    """

    def __init__(
        self,
        folder: Path | str,
        at_once: int = AT_ONCE,
        *,
        transport: Transport | None = None,
        private_hosts: bool = False,
    ) -> None:
        self._folder = Path(folder)
        self._stopped = Stop()
        options: Mapping[str, Any] = {"backoff_factor": 0.5, "raise_on_status": False}
        retry = JitteredRetry(TRIES - 1, status_forcelist=(429, *UNAVAILABLE), **options)
        self._downloader = Downloader(retry, at_once, private_hosts=private_hosts)
        self._files = SavedFiles(transport, self._downloader) if transport else None

    def close(self) -> None:
        """Close the connections."""
        self._downloader.close()

    def stop(self) -> None:
        """End the downloads, also those that wait for bytes."""
        self._stopped.set()

    def create_folder(self) -> None:
        """Create the folder. Raises NotSaved."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NotSaved(f"The folder {self._folder} cannot be created: {error.strerror}. Choose another.") from error

    def save_one(self, job: JobFields, index: int) -> Saved:
        """Save one result of a job. `Saved.error` says why it could not be saved.

        Raises NotSaved when the disk is full.
        """
        output = job.output[index]
        # Ids may contain colons, which some file systems refuse, but no plus.
        name = f"{quote(job.id.replace(':', '+'), safe='+')}-{index + 1}"
        for extension in _EXTENSIONS:
            path = self._folder / f"{name}.{extension}"
            if path.exists():
                return Saved(job=job.id, index=index, url=output.url, path=path, was_there=True)
        try:
            with limited_time(self._stopped):
                return Saved(job=job.id, index=index, url=output.url, path=self._fetch(job, index, name))
        except _DiskFull:
            raise
        except NotSaved as error:
            return Saved(job=job.id, index=index, url=output.url, error=str(error))

    def _fetch(self, job: JobFields, index: int, name: str) -> Path:
        """Fetch a result from the service where it is saved there, otherwise from the provider."""
        output = job.output[index]
        if self._files is None or output.saved_at is None or output.removed_at or not output.sha256:
            return self._download(output, name)
        try:
            return self._from_service(self._files, job, index, name)
        except _DiskFull:
            raise
        except (BoomerangError, RequestException, WrongContent) as error:
            if output.source_url and not self._stopped.is_set():
                try:
                    return self._download(replace(output, url=output.source_url), name)
                except _DiskFull:
                    raise
                except NotSaved:
                    pass  # the service's reason is the one to report
            raise NotSaved(f"Output {index} of job {job.id} cannot be fetched from the service: {error}") from error

    def _from_service(self, files: SavedFiles, job: JobFields, index: int, name: str) -> Path:
        output = job.output[index]
        for attempt in range(1, TRIES + 1):
            try:
                with resumed_file(self._folder, str(output.sha256)) as (file, finish):
                    files.copy(job.id, index, output, file, self._stopped)
                    file.seek(0)
                    target = self._folder / f"{name}.{_extension(file.read(16), output)}"
                    finish(target)
                    return target
            except (RequestException, WrongContent):  # noqa: PERF203 -- a retry loop
                if attempt == TRIES or self._stopped.is_set():
                    raise
                self._stopped.wait(pause_before(attempt, 0.5))
            except NotPublic as error:
                raise NotSaved(_private(output.url, error)) from error
            except TooSlow as error:
                raise NotSaved(f"{output.url} {error}. Try again: it continues.") from error
            except OSError as error:
                raise self._not_written(name, error) from error
        raise AssertionError  # the loop returns or raises

    def _download(self, output: Output, name: str) -> Path:
        for attempt in range(1, TRIES + 1):
            try:
                return self._try_download(output, name)
            except RequestException as error:  # noqa: PERF203 -- a retry loop
                # urllib3 does not repeat a request whose answer breaks off after its headers.
                if attempt == TRIES or self._stopped.is_set():
                    raise NotSaved(f"{output.url} cannot be downloaded ({type(error).__name__}). Try again.") from error
                self._stopped.wait(pause_before(attempt, 0.5))
            except NotPublic as error:
                raise NotSaved(_private(output.url, error)) from error
            except TooSlow as error:
                raise NotSaved(f"{output.url} {error}. Try again.") from error
            except OSError as error:
                raise self._not_written(name, error) from error
        raise AssertionError  # the loop returns or raises

    def _not_written(self, name: str, error: OSError) -> NotSaved:
        if error.errno in _FULL:
            return _DiskFull(
                f"The disk of {self._folder} is full ({error.strerror}). Free some space and repeat the command: it "
                "saves what is missing."
            )
        return NotSaved(f"{self._folder / name} cannot be written: {error.strerror or error}.")

    def _try_download(self, output: Output, name: str) -> Path:
        with self._downloader.get(output.url) as response:
            if not response.ok:
                gone = response.status_code in (403, 404, 410)
                remedy = "The provider has deleted it, or its URL has expired" if gone else "Try again"
                raise NotSaved(f"{output.url} was refused (HTTP {response.status_code}). {remedy}.")
            if _announced(response) > LARGEST:
                raise NotSaved(f"{output.url} is larger than {LARGEST:,} bytes.")
            with new_file(self._folder) as (file, finish):
                head = self._copy(response, file, output.sha256)
                target = self._folder / f"{name}.{_extension(head, output)}"
                finish(target)
        return target

    def _copy(self, response: requests.Response, file: BinaryIO, sha256: str | None) -> bytes:
        """Write the whole answer to the file and return its first bytes. Raises NotSaved, also for another SHA-256.

        A truncated answer raises requests' own error.
        """
        head, size, digest = b"", 0, hashlib.sha256()
        for chunk in response.iter_content(_CHUNK):
            if self._stopped.is_set():
                raise NotSaved("The download was stopped.")
            head, size = head or chunk[:16], size + len(chunk)
            if size > LARGEST:
                raise NotSaved(f"{response.url} is larger than {LARGEST:,} bytes.")
            digest.update(chunk)
            file.write(chunk)
        if not size:
            raise NotSaved(f"{response.url} is empty. Try again.")
        if sha256 and digest.hexdigest() != sha256:
            raise NotSaved(f"{response.url} is no longer what the service saved.")
        return head


def _private(url: str, error: NotPublic) -> str:
    return (
        f"{url} leads to {error}, which is not a public host. If you trust it, allow it: --private-hosts, or "
        "private_hosts=True in Python."
    )


def _announced(response: requests.Response) -> int:
    size = response.headers.get("Content-Length", "")
    return int(size) if size.isascii() and size.isdigit() else 0


def _extension(head: bytes, output: Output) -> str:
    by_content = next((extension for magic, extension in _EXTENSIONS_BY_CONTENT if head.startswith(magic)), None)
    if output.type == "image" and by_content is None:
        raise NotSaved(f"{output.url} is not an image. The provider may have deleted it.")
    by_name = PurePosixPath(unquote(urlsplit(output.url).path)).suffix[1:].lower()
    return by_content or (by_name if by_name in _EXTENSIONS else "bin")
