"""A bucket, through fsspec: S3, Google Cloud Storage, and what else has a package for fsspec.

An upload to S3, Google or Azure makes no object before it is completed, so nothing half is visible. With other file
systems an object is written under another name and then moved.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from jobs.blobs.blob import KEPT, OWN, Blob, Draft, closing_draft

#: Bytes of an upload's parts, and of a read. Each thread holds two of them in memory at most.
PART = 8 * 1024 * 1024
#: Where objects are written that have to be moved.
DRAFTS = f"{OWN}drafts"
_S3 = frozenset({"s3", "s3a"})
_GOOGLE = frozenset({"gs", "gcs"})
#: Schemes whose uploads become visible at once and whole.
_ATOMIC = _S3 | _GOOGLE | {"abfs", "abfss", "az"}
#: Names that file systems have for the time of the last write.
_TIMES = ("LastModified", "mtime", "updated", "last_modified", "created")


class Remote:
    """Objects below `root`, of a file system of fsspec."""

    def __init__(self, files: Any, scheme: str, root: str) -> None:
        self._files = files
        self._scheme = scheme
        self._root = root

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Open a draft: a file that has no name, so that nothing remains of it after a kill."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the next line
        with closing_draft(file):
            yield Draft(file)

    def put(self, draft: Draft, name: str, content_type: str) -> None:
        """Upload a draft."""
        draft.file.flush()
        draft.file.seek(0)
        source = f"/dev/fd/{draft.file.fileno()}"
        with self._target(name) as path:
            self._files.put_file(source, path, **self._upload_options(content_type))

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Store an object."""
        options = self._type_options(content_type)
        with self._target(name) as path:
            self._files.pipe_file(path, data, **options)

    def read(self, name: str) -> bytes:
        """Read a whole object."""
        data: bytes = self._files.cat_file(self._path(name))
        return data

    def stream(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Read a range, each piece with a request of its own."""
        path = self._path(name)
        while start < end and (piece := self._files.cat_file(path, start=start, end=min(end, start + PART))):
            yield piece
            start += len(piece)

    def info(self, name: str) -> Blob:
        """Return what is known of an object."""
        found = self._files.info(self._path(name))
        if found["type"] != "file":
            raise FileNotFoundError(name)
        return self._blob(found)

    def list(self, prefix: str) -> Iterator[Blob]:
        """Yield objects: of S3 page by page, of others folder by folder."""
        found = self._list_s3(prefix) if self._scheme in _S3 else self._walk(prefix)
        for each in found:
            blob = self._blob(each)
            if blob.name.startswith(prefix) and not any(part.startswith(OWN) for part in blob.name.split("/")):
                yield blob

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects."""
        for name in names:
            with suppress(FileNotFoundError):
                self._files.rm_file(self._path(name))

    def link(self, name: str, seconds: float, content_type: str | None, filename: str | None) -> str | None:
        """Return a presigned address; None where the file system has no such."""
        disposition = None if filename is None else f'inline; filename="{filename}"'
        prefix = ("Response", "ContentType", "ContentDisposition")
        if self._scheme in _GOOGLE:
            prefix = ("response_", "type", "disposition")
        start, type_name, disposition_name = prefix
        given = {start + type_name: content_type, start + disposition_name: disposition}
        options = {key: value for key, value in given.items() if value is not None}
        if self._scheme not in _S3 | _GOOGLE:
            options = {}
        try:
            address: str = self._files.sign(self._path(name), expiration=int(seconds), **options)
        except NotImplementedError:
            return None
        return address

    def check_sweep(self) -> None:
        """List the uploads to S3 that are under way: a right of its own there. Elsewhere `list` has shown the right."""
        if self._scheme in _S3:
            next(iter(self._uploads()), None)

    def sweep(self, older_than: float, kept_for: float) -> int:
        """Abort uploads to S3, remove drafts that were not moved, and what was kept.

        Google ends uploads itself, after a week.
        """
        count = self._sweep(KEPT, _ago(kept_for))
        if self._scheme in _S3:
            old = [each for each in self._uploads() if each["Initiated"] < _ago(older_than)]
            return count + sum(map(self._abort, old))
        return count if self._scheme in _ATOMIC else count + self._sweep(DRAFTS, _ago(older_than))

    def _sweep(self, folder: str, before: datetime) -> int:
        with suppress(FileNotFoundError):
            found = [each for each in self._files.ls(self._path(folder), detail=True) if _modified(each) < before]
            for each in found:
                self._files.rm_file(each["name"])
            return len(found)
        return 0

    @contextmanager
    def _target(self, name: str) -> Iterator[str]:
        """Yield the path to write to, and move what was written there."""
        path = self._path(name)
        if self._scheme in _ATOMIC:
            yield path
            return
        written = self._path(f"{DRAFTS}/{token_hex(16)}")
        for each in (written, path):
            self._files.makedirs(each.rpartition("/")[0], exist_ok=True)
        try:
            yield written
            self._files.mv(written, path)
        except BaseException:
            with suppress(Exception):
                self._files.rm_file(written)
            raise

    def _upload_options(self, content_type: str) -> Mapping[str, Any]:
        sizes: dict[str, Any] = {}
        if self._scheme in _S3 | _GOOGLE:
            sizes["chunksize"] = PART
        if self._scheme in _S3:
            sizes["max_concurrency"] = 1
        return {**sizes, **self._type_options(content_type)}

    def _type_options(self, content_type: str) -> Mapping[str, Any]:
        if self._scheme in _S3:
            return {"ContentType": content_type}
        return {"content_type": content_type} if self._scheme in _GOOGLE else {}

    def _list_s3(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        bucket, _, key = self._path(prefix).partition("/")
        more: dict[str, Any] = {}
        while True:
            page = self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, **more)
            for each in page.get("Contents", ()):
                yield {**each, "name": f"{bucket}/{each['Key']}", "size": each["Size"]}
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _walk(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        folder, _, _ = prefix.rpartition("/")
        for _, _, found in self._files.walk(self._path(folder).rstrip("/"), detail=True):
            yield from found.values()

    def _uploads(self) -> Iterator[Mapping[str, Any]]:
        bucket, _, key = self._path("").partition("/")
        more: dict[str, Any] = {}
        while True:
            page = self._files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key, **more)
            yield from page.get("Uploads", ())
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _abort(self, upload: Mapping[str, Any]) -> int:
        bucket = self._path("").partition("/")[0]
        with suppress(FileNotFoundError):  # completed or aborted meanwhile
            self._files.call_s3("abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            return 1
        return 0

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _blob(self, found: Mapping[str, Any]) -> Blob:
        name = str(found["name"]).lstrip("/").removeprefix(f"{self._root.lstrip('/')}/")
        return Blob(name, int(found["size"]), _modified(found))


def _ago(seconds: float) -> datetime:
    return datetime.fromtimestamp(time.time() - seconds, UTC)


def _modified(found: Mapping[str, Any]) -> datetime:
    """Return when an object was last written. One without a time counts as new."""
    moment = next((found[name] for name in _TIMES if found.get(name)), None)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    if not isinstance(moment, datetime):
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
