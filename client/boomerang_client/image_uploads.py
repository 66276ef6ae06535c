"""Upload the local images of requests: check each, upload it once, and replace it by a reference."""

import hashlib
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from boomerang_client.errors import BoomerangError, Invalid, UnexpectedAnswer, UsageError
from boomerang_client.image_folders import Folders, find_image, folders_of
from boomerang_client.image_rules import MAX_BYTES, problem_of, read_header

LocalImage: TypeAlias = Path | bytes

#: Members of a request that hold images: lists of objects, with the member that has the image; and single texts.
IMAGE_LISTS: Mapping[str, str] = {"image_list": "image", "subject_image_list": "subject_image"}
IMAGE_MEMBERS = ("scene_image", "style_image")

#: Characters of the longest possible file name, with its folders (PATH_MAX).
LONGEST_NAME = 4096
#: Entries kept in each cache.
_CACHE_SIZE = 50_000
#: Seconds until the service is asked again whether it still has an image.
_PRESENT_SECONDS = 600.0

Key = TypeVar("Key")
Value = TypeVar("Value")


class ImagesRefused(UsageError):
    """Local images break the API's rules, so nothing of the request was sent.

    `errors` maps field paths to messages.
    """

    def __init__(self, errors: Mapping[str, tuple[str, ...]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items()))


class ImageStore(Protocol):
    """The part of the transport that uploads need."""

    def has(self, path: str) -> bool: ...
    def post_bytes(self, path: str, body: bytes, content_type: str) -> Any: ...


class ImageUploader:
    """Uploads the images of one client. It caches hashes by path, modification time and size."""

    def __init__(self, store: ImageStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._hashes: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._present: OrderedDict[str, float] = OrderedDict()

    def reference(self, image: LocalImage) -> str:
        """Return the reference (`image:sha256:…`) of an image that the service has after this call.

        Raises UsageError for an image that the API would not accept; its message follows on "<field>: ". Raises Invalid
        when the service refuses the image.
        """
        name, content, digest = self._checked(image)
        reference = f"image:sha256:{digest}"
        seen = self._present.get(reference)
        if seen is None or self._clock() - seen > _PRESENT_SECONDS:
            self._upload(reference, _read(image) if content is None else content, digest, name)
            _cache(self._present, reference, self._clock())
        return reference

    def future_reference(self, image: LocalImage) -> str:
        """Return the reference that an image will have, without an upload. Raises UsageError as `reference` does."""
        return f"image:sha256:{self._checked(image)[2]}"

    def _checked(self, image: LocalImage) -> tuple[str, bytes | None, str]:
        """Return a checked image's name, its content unless its hash was known, and its hash."""
        name = _name_of(image)
        if not isinstance(image, Path):
            return name, image, _checked_hash(image, name)
        key = _file_identity(image)
        digest = self._hashes.get(key)
        if digest is not None:
            return name, None, digest
        content = _read(image)
        return name, content, _cache(self._hashes, key, _checked_hash(content, name))

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
    request: Mapping[str, Any], reference: Callable[[LocalImage], str], folder: Folders | None = None
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
            image = _local_image(value, folders)
            return value if image is None else reference(image)
        except Invalid as error:
            errors[path] = (f"{value if isinstance(value, str) else _name_of(value)}: {error}",)
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


def _resolve_list(given: Any, name: str, member: str, resolve: Callable[[str, Any], Any]) -> Any:
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


def _local_image(value: Any, folders: tuple[Path, ...]) -> LocalImage | None:
    if isinstance(value, Path):
        return folders[0] / value if folders else value
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not names_file(value[:LONGEST_NAME]):
        return None
    if not folders:
        raise UsageError(f"{value[:80]!r} is text; for a file pass a pathlib.Path")
    return find_image(value, folders) if len(value) < LONGEST_NAME else None


def names_file(text: str) -> bool:
    """Return whether a text can only be a file name.

    Base64 has no dot. A URL and a reference have a colon near their beginning.
    """
    return "." in text and ":" not in text[2:16] and not text.lstrip().lower().startswith("data:")


def _name_of(image: LocalImage) -> str:
    return str(image) if isinstance(image, Path) else "the image"


def _file_identity(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be read ({why}); check the name") from error
    if not stat.S_ISREG(found.st_mode):  # reading a pipe might never end
        raise UsageError(f"{path} is not a regular file; name a PNG or JPEG file")
    return str(path.absolute()), found.st_mtime_ns, found.st_size


def _read(image: LocalImage) -> bytes:
    if isinstance(image, bytes):
        return image
    try:
        with image.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{image} cannot be read ({error.strerror}); check the name and its rights") from error


def _checked_hash(content: bytes, name: str) -> str:
    problem = problem_of(content)
    if problem:
        raise UsageError(f"{name} {problem}")
    return hashlib.sha256(content).hexdigest()


def _cache(entries: "OrderedDict[Key, Value]", key: Key, value: Value) -> Value:
    entries[key] = value
    if len(entries) > _CACHE_SIZE:
        entries.popitem(last=False)
    return value
