"""Local pictures in requests: each is checked, uploaded once, and replaced by its reference."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from boomerang_client.errors import BoomerangError, Invalid, UnexpectedAnswer, UsageError
from boomerang_client.image_rules import MAX_BYTES, problem_of, read_header

Picture: TypeAlias = Path | bytes

#: Where a request holds pictures: lists of objects, by the member that each has; and texts.
LISTS: Mapping[str, str] = {"image_list": "image", "subject_image_list": "subject_image"}
SINGLE = ("scene_image", "style_image")

#: Characters of a file's name with its folders: more is none (PATH_MAX).
LONGEST_NAME = 4096
#: A file, as long as it looks the same → the hash of its content; and how many of them are remembered.
_REMEMBERED = 50_000
#: Seconds after which the service is asked again whether it still has a picture.
_BELIEVED = 600.0


class PicturesRefused(UsageError):
    """Local pictures break the API's rules; nothing of the request was sent. `errors`: field path → messages."""

    def __init__(self, errors: Mapping[str, tuple[str, ...]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items()))


class Storage(Protocol):
    """What is needed of the transport."""

    def has(self, path: str) -> bool: ...
    def post_bytes(self, path: str, body: bytes, content_type: str) -> Any: ...


class Pictures:
    """The pictures of one client. Hashes are remembered by path, time of change and size."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage, self._clock = storage, clock
        self._hashes: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._there: OrderedDict[str, float] = OrderedDict()

    def reference(self, picture: Picture) -> str:
        """`image:sha256:…` of a picture that the service then has.

        Raises UsageError, whose message follows on "<field>: ", for a picture that the API would not take; Invalid
        where the service refuses it.
        """
        name, content = _described(picture), None
        if isinstance(picture, Path):
            key = _appearance(picture)
            digest = self._hashes.get(key)
            if digest is None:
                content = _read(picture)
                digest = _remember(self._hashes, key, _checked(content, name))
        else:
            content = picture
            digest = _checked(content, name)
        reference = f"image:sha256:{digest}"
        seen = self._there.get(reference)
        if seen is None or self._clock() - seen > _BELIEVED:
            self._upload(reference, _read(picture) if content is None else content, digest, name)
            _remember(self._there, reference, self._clock())
        return reference

    def _upload(self, reference: str, content: bytes, digest: str, name: str) -> None:
        if self._storage.has(f"/v1/images/{reference}"):
            return
        if hashlib.sha256(content).hexdigest() != digest:
            raise UsageError(f"{name} was changed while it was read; try again")
        header = read_header(content)
        made = self._storage.post_bytes("/v1/images", content, f"image/{header.format if header else 'png'}")
        if not isinstance(made, Mapping) or made.get("id") != reference:
            raise UnexpectedAnswer("The service gave a picture another name than its content has. Send it again.")


def resolve(
    request: Mapping[str, Any], reference: Callable[[Picture], str], folder: Path | None = None
) -> Mapping[str, Any]:
    """The request as the API wants it: pictures replaced by references, bare entries of image lists wrapped.

    With `folder`, texts that name a file (they have a dot and no scheme: neither a URL, nor base64, nor a reference)
    are pictures too, relative to it. Raises PicturesRefused with all that is wrong.
    """
    if not any(name in request for name in (*LISTS, *SINGLE)):
        return request
    errors: dict[str, tuple[str, ...]] = {}

    def one(path: str, value: Any) -> Any:
        picture = _picture(value, folder)
        if picture is None:
            if folder is None and isinstance(value, str) and names_file(value[:LONGEST_NAME]):
                errors[path] = (f"{value[:80]!r} is a text; for a file give a pathlib.Path",)
            return value
        try:
            return reference(picture)
        except Invalid as error:
            errors[path] = (f"{_described(picture)}: {error}",)
        except UsageError as error:
            errors[path] = (BoomerangError.__str__(error),)
        return None

    made = dict(request)
    made |= {name: one(name, made[name]) for name in SINGLE if name in made}
    made |= {name: _entries(made[name], name, member, one) for name, member in LISTS.items() if name in made}
    if errors:
        raise PicturesRefused(errors)
    return made


def _entries(given: Any, name: str, member: str, one: Callable[[str, Any], Any]) -> Any:
    entries = [given] if isinstance(given, str | bytes | Path) else given
    if not isinstance(entries, list | tuple):
        return given  # the service says what is wrong with it
    made = []
    for number, entry in enumerate(entries):
        path = f"{name}.{number}.{member}"
        if isinstance(entry, Mapping):
            made.append({**entry, member: one(path, entry[member])} if member in entry else entry)
        elif isinstance(entry, str | bytes | Path):
            made.append({member: one(path, entry)})
        else:
            made.append(entry)
    return made


def _picture(value: Any, folder: Path | None) -> Picture | None:
    if isinstance(value, Path | bytes):
        return value if isinstance(value, bytes) or folder is None else folder / value
    if folder is not None and isinstance(value, str) and len(value) < LONGEST_NAME and names_file(value):
        return folder / Path(value).expanduser()
    return None


def names_file(text: str) -> bool:
    """Whether a text can only be a file's name: base64 has no dot, and a URL and a reference have a colon early on."""
    return "." in text and ":" not in text[2:16] and not text.lstrip().lower().startswith("data:")


def _described(picture: Picture) -> str:
    return str(picture) if isinstance(picture, Path) else "the picture"


def _appearance(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path} cannot be read ({why}); check the name") from error
    return str(path.absolute()), found.st_mtime_ns, found.st_size


def _read(picture: Picture) -> bytes:
    if isinstance(picture, bytes):
        return picture
    try:
        with picture.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{picture} cannot be read ({error.strerror}); check the name and its rights") from error


def _checked(content: bytes, name: str) -> str:
    problem = problem_of(content)
    if problem:
        raise UsageError(f"{name} {problem}")
    return hashlib.sha256(content).hexdigest()


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> Any:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
    return value
