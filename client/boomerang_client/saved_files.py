"""Fetch saved images from the service: a download that breaks is continued, and its SHA-256 is checked."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import urljoin

import requests
from requests.exceptions import HTTPError

from boomerang_client.arguments import path_segment
from boomerang_client.downloading import Downloader
from boomerang_client.errors import NotSaved
from boomerang_client.outputs import Output
from boomerang_client.stopping import Stop
from boomerang_client.transport import Transport

_CHUNK = 256 * 1024
_PARTIAL = 206


class WrongContent(Exception):
    """What arrived is not what the service saved. The download begins anew."""


class SavedFiles:
    """The saved images of a service. The key goes to the service only, never to the store that it redirects to."""

    def __init__(self, transport: Transport, downloader: Downloader) -> None:
        self._transport = transport
        self._downloader = downloader

    def copy(self, job_id: str, index: int, output: Output, file: BinaryIO, stopped: Stop) -> None:
        """Write the image to the file, after what is there already.

        Raises WrongContent, NotSaved when it was stopped, and the errors of `Transport.file` and of requests. What has
        arrived by then stays in the file.
        """
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        start = file.tell()
        if start != output.size:
            headers = {"Range": f"bytes={start}-"} if start and start < (output.size or 0) else {}
            address = f"/v1/jobs/{path_segment(job_id)}/outputs/{index}"
            with self._answer(address, headers) as response:
                if response.status_code != _PARTIAL:
                    _empty(file)
                    digest = hashlib.sha256()
                for chunk in response.iter_content(_CHUNK):
                    if stopped.is_set():
                        raise NotSaved("The download was stopped.")
                    digest.update(chunk)
                    file.write(chunk)
                    if file.tell() > (output.size or 0):
                        break
        if digest.hexdigest() != output.sha256:
            _empty(file)
            raise WrongContent("what arrived is not what was saved (its SHA-256 differs)")

    @contextmanager
    def _answer(self, path: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Yield the answer of the service, or of the store that it redirects to: each time at a new address."""
        headers = {"Accept-Encoding": "identity", **headers}
        with self._transport.file(path, headers) as response:
            if not response.is_redirect:
                yield response
                return
            address = urljoin(response.url, response.headers["Location"])
        with self._downloader.get(address, headers) as response:
            if not response.ok:
                raise HTTPError(f"the result store refused it (HTTP {response.status_code})", response=response)
            yield response


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()
