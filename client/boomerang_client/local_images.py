"""Local images of requests: which members hold them, and what is wrong with a file before it is uploaded."""

import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from boomerang_client.errors import UsageError
from boomerang_client.image_folders import find_image
from boomerang_client.image_rules import MAX_BYTES, problem_of

LocalImage: TypeAlias = Path | bytes

#: Members of a request that hold images: lists of objects, with the member that has the image; and single texts.
IMAGE_LISTS: Mapping[str, str] = {"image_list": "image", "subject_image_list": "subject_image"}
IMAGE_MEMBERS = ("scene_image", "style_image")

#: Characters of the longest possible file name, with its folders (PATH_MAX).
LONGEST_NAME = 4096


class ImagesRefused(UsageError):
    """Local images break the API's rules, so nothing of the request was sent.

    `errors` maps field paths to messages.
    """

    def __init__(self, errors: Mapping[str, tuple[str, ...]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items()))


def local_image(value: Any, folders: tuple[Path, ...]) -> LocalImage | None:
    """Return the local image that a value of a request is, or None. Raises UsageError."""
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


def name_of(image: LocalImage) -> str:
    """Return the name of an image for messages."""
    return str(image) if isinstance(image, Path) else "the image"


def file_identity(path: Path) -> tuple[str, int, int]:
    """Return a file's path, modification time and size. Raises UsageError."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be read ({why}); check the name") from error
    if not stat.S_ISREG(found.st_mode):  # reading a pipe might never end
        raise UsageError(f"{path} is not a regular file; name a PNG or JPEG file")
    return str(path.absolute()), found.st_mtime_ns, found.st_size


def read_image(image: LocalImage) -> bytes:
    """Return the content, at most one byte more than an image may have. Raises UsageError."""
    if isinstance(image, bytes):
        return image
    try:
        with image.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{image} cannot be read ({error.strerror}); check the name and its rights") from error


def checked_hash(content: bytes, name: str) -> str:
    """Return the SHA-256 of an image in hex. Raises UsageError for one that the API would not accept."""
    problem = problem_of(content)
    if problem:
        raise UsageError(f"{name} {problem}")
    return hashlib.sha256(content).hexdigest()
