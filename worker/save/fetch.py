"""Fetch one output of a job, and check that it is a whole file of a known kind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap

from jobs.blobs.blob import Draft
from schemas.media import MediaFile, MediaInvalid, read_media
from worker.errors import DownloadFailed, SaveFailed
from worker.http.download import Downloader, host_of
from worker.http.transfer import Body


def fetch(downloader: Downloader, url: str, draft: Draft, alive: Callable[[], None]) -> tuple[Body, MediaFile]:
    """Download an output into a draft. Raises `SaveFailed`; `final` where the output no longer exists.

    `alive` is called with each piece that comes. The time that it may take follows its size (Downloader.longest).
    """
    with _naming_the_host(url):
        body = downloader.download(url, draft.file, downloader.longest, alive)
        draft.file.flush()
        return body, check(draft, body)


def check(draft: Draft, body: Body) -> MediaFile:
    """Check that a draft is a whole file of a known kind. Raises `MediaInvalid`."""
    if not body.size:  # an empty file cannot be mapped
        return read_media(b"")
    with mmap(draft.file.fileno(), 0, access=ACCESS_READ) as data:
        return read_media(data)


@contextmanager
def _naming_the_host(url: str) -> Iterator[None]:
    """Translate errors. An address may contain a signature, so only its host is named."""
    try:
        yield
    except DownloadFailed as error:
        why = f"{host_of(url)}: {error}"
        raise SaveFailed(why, final=error.gone, retry_after=error.retry_after) from error
    except MediaInvalid as error:
        raise SaveFailed(f"{host_of(url)}: the file {error}", wrong_file=True) from error
