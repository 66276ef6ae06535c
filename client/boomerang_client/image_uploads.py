# Written by `make client`, from asynchronous/image_uploads.py. Do not edit.
"""Upload the local images of requests: check each, upload it once, and replace it by a reference."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from boomerang_client.errors import BoomerangError, Invalid, UnexpectedAnswer, UsageError
from boomerang_client.execution import Reference, Resolve, in_thread
from boomerang_client.image_folders import Folders, folders_of
from boomerang_client.image_rules import read_header
from boomerang_client.local_images import (
    IMAGE_LISTS,
    IMAGE_MEMBERS,
    ImagesRefused,
    LocalImage,
    checked_hash,
    file_identity,
    local_image,
    name_of,
    read_image,
)
from boomerang_client.transport import Transport

#: Entries kept in each cache.
_CACHE_SIZE = 50_000
#: Seconds until the service is asked again whether it still has an image.
_PRESENT_SECONDS = 600.0

Key = TypeVar("Key")
Value = TypeVar("Value")


class ImageUploader:
    """Uploads the images of one client. It caches hashes by path, modification time and size."""

    def __init__(self, store: Transport, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._hashes: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._present: OrderedDict[str, float] = OrderedDict()

    def reference(self, image: LocalImage) -> str:
        """Return the reference (`image:sha256:…`) of an image that the service has after this call.

        Raises UsageError for an image that the API would not accept; its message follows on "<field>: ". Raises Invalid
        when the service refuses the image.
        """
        name, content, digest = in_thread(self._checked, image)
        reference = f"image:sha256:{digest}"
        seen = self._present.get(reference)
        if seen is None or self._clock() - seen > _PRESENT_SECONDS:
            data = in_thread(read_image, image) if content is None else content
            self._upload(reference, data, digest, name)
            _cache(self._present, reference, self._clock())
        return reference

    def future_reference(self, image: LocalImage) -> str:
        """Return the reference that an image will have, without an upload. Raises UsageError as `reference` does."""
        _, _, digest = in_thread(self._checked, image)
        return f"image:sha256:{digest}"

    def _checked(self, image: LocalImage) -> tuple[str, bytes | None, str]:
        """Return a checked image's name, its content unless its hash was known, and its hash."""
        name = name_of(image)
        if not isinstance(image, Path):
            return name, image, checked_hash(image, name)
        key = file_identity(image)
        digest = self._hashes.get(key)
        if digest is not None:
            return name, None, digest
        content = read_image(image)
        return name, content, _cache(self._hashes, key, checked_hash(content, name))

    def _upload(self, reference: str, content: bytes, digest: str, name: str) -> None:
        if self._store.has(f"/v1/images/{reference}"):
            return
        if hashlib.sha256(content).hexdigest() != digest:
            raise UsageError(f"{name} changed while it was read; try again")
        header = read_header(content)
        created = self._store.post_bytes("/v1/images", content, f"image/{header.format if header else 'png'}")
        if not isinstance(created, Mapping) or created.get("id") != reference:
            raise UnexpectedAnswer(f"The service stored {name} under another hash than its content has. Send it again.")


def resolve_images(
    request: Mapping[str, Any], reference: Reference, folder: Folders | None = None
) -> Mapping[str, Any]:
    """Return the request as the API expects it: local images replaced by references, bare list entries wrapped.

    With `folder`, texts that name a file are local images too, below that folder or one of those folders. Raises
    ImagesRefused with everything that is wrong.
    """
    folders = folders_of(folder)
    if not any(name in request for name in (*IMAGE_LISTS, *IMAGE_MEMBERS)):
        return request
    errors: dict[str, tuple[str, ...]] = {}

    def resolve(path: str, value: Any) -> Any:
        try:
            image = local_image(value, folders)
            return value if image is None else reference(image)
        except Invalid as error:
            errors[path] = (f"{value if isinstance(value, str) else name_of(value)}: {error}",)
        except UsageError as error:
            errors[path] = (BoomerangError.__str__(error),)
        return None

    resolved = dict(request)
    resolved |= {name: resolve(name, resolved[name]) for name in IMAGE_MEMBERS if name in resolved}
    for name, member in IMAGE_LISTS.items():
        if name in resolved:
            resolved[name] = _resolve_list(resolved[name], name, member, resolve)
    if errors:
        raise ImagesRefused(errors)
    return resolved


def _resolve_list(given: Any, name: str, member: str, resolve: Resolve) -> Any:
    entries = [given] if isinstance(given, str | bytes | Path) else given
    if not isinstance(entries, list | tuple):
        return given  # the service explains what is wrong with it
    resolved = []
    for number, entry in enumerate(entries):
        path = f"{name}.{number}.{member}"
        if isinstance(entry, Mapping):
            resolved.append({**entry, member: resolve(path, entry[member])} if member in entry else entry)
        elif isinstance(entry, str | bytes | Path):
            resolved.append({member: resolve(path, entry)})
        else:
            resolved.append(entry)
    return resolved


def _cache(entries: "OrderedDict[Key, Value]", key: Key, value: Value) -> Value:
    entries[key] = value
    if len(entries) > _CACHE_SIZE:
        entries.popitem(last=False)
    return value
