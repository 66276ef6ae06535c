"""Names of saved outputs, from a template such as `{batch}/{job}-{index}.{ext}`.

Two jobs never get one name: the template must have a part, between two slashes, that only one job can have. A job's
sidecar and a batch's manifest have names of their own, in the batch's folder.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from itertools import pairwise

from jobs.job import Job
from jobs.results.encoding import MARK, MOST_ID, MOST_TEXT, encode_id, encode_text, safe_part, short_hash

DEFAULT = "{batch}/{job}-{index}.{ext}"
#: The folder of jobs without a batch. No batch can be called so.
NO_BATCH = f"{MARK}single"
MANIFEST = "manifest.ndjson"
SIDECAR = ".json"
#: What ids must not end in, because other files do. The extensions of schemas.media, and our own.
ENDINGS = frozenset(
    f".{each}"
    for each in (
        "json", "ndjson", "png", "jpg", "webp", "gif", "avif", "heic", "tif", "mp4", "mov", "webm", "avi", "m4a", "wav",
        "mp3", "ogg", "flac",
    )
)  # fmt: skip
#: Bytes of a part and of a whole name that every file system and S3 take.
MOST_PART, MOST_NAME = 255, 900
_EXT = ".{ext}"
_FIELD = re.compile(r"\{(\w+)(?:\[([^\[\]{}]{1,64})\])?\}")
_LITERAL = re.compile(r"[A-Za-z0-9 ._,@+=()-]*")
#: Field -> the most bytes of its value. Those of DATES and of HASHES always have as many.
_LONGEST: Mapping[str, int] = {
    "batch": MOST_ID, "job": MOST_ID, "owner": MOST_TEXT, "model": MOST_TEXT, "label": MOST_TEXT,
    "index": 4, "ext": 4, "key": 26, "sha256": 64, "date": 10, "year": 4, "month": 2, "day": 2,
}  # fmt: skip
_HASHES = frozenset({"key", "sha256"})
_FIXED = frozenset({"date", "year", "month", "day"}) | _HASHES
_ONE_JOB = frozenset({"job"}) | _HASHES


class TemplateInvalid(ValueError):
    """A template cannot be used. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A literal, or a field with its argument."""

    text: str = ""
    field: str = ""
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A valid template. Create it with `parse`."""

    text: str
    _parts: tuple[tuple[_Piece, ...], ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Check a template. Raises `TemplateInvalid`."""
        parts = tuple(tuple(_pieces(part)) for part in text.split("/"))
        template = cls(text, parts)
        _check(text, parts)
        return template

    def name(self, job: Job, index: int, extension: str, sha256: str, labels: Mapping[str, str]) -> str:
        """Return the name of an output. `labels`: the job's and its batch's."""
        ended = (job.ended_at or job.created_at).astimezone(UTC)
        values = {
            "batch": batch_folder(job.batch),
            "job": encode_id(job.id, ENDINGS),
            "owner": encode_text(job.owner),
            "model": encode_text(job.model),
            "index": str(index),
            "ext": extension,
            "key": short_hash(f"{job.id} {job.created_at.isoformat()}"),
            "sha256": sha256,
            "date": f"{ended:%Y-%m-%d}",
            "year": f"{ended:%Y}",
            "month": f"{ended:%m}",
            "day": f"{ended:%d}",
        }

        def value(piece: _Piece) -> str:
            if piece.field == "label":
                return encode_text(labels.get(piece.argument, ""))
            return values[piece.field] if piece.field else piece.text

        return "/".join(safe_part("".join(map(value, part))) for part in self._parts)


def batch_folder(batch: str | None) -> str:
    """Return the folder of a batch's sidecars and manifest."""
    return NO_BATCH if batch is None else safe_part(encode_id(batch, ENDINGS))


def sidecar_name(job: Job) -> str:
    """Return the name of a job's sidecar."""
    return f"{batch_folder(job.batch)}/{safe_part(encode_id(job.id, ENDINGS) + SIDECAR)}"


def manifest_name(batch: str | None) -> str:
    """Return the name of a batch's manifest."""
    return f"{batch_folder(batch)}/{MANIFEST}"


def another_name(name: str, sha256: str) -> str:
    """Return a name beside one that has other bytes already: of an earlier job with the same id."""
    stem, _, extension = name.rpartition(".")
    return f"{stem}{MARK}d{sha256[:16]}.{extension}"


def _pieces(part: str) -> Iterator[_Piece]:
    position = 0
    for found in _FIELD.finditer(part):
        if literal := part[position : found.start()]:
            yield _Piece(literal)
        yield _Piece(field=found[1], argument=found[2] or "")
        position = found.end()
    if literal := part[position:]:
        yield _Piece(literal)


def _check(text: str, parts: tuple[tuple[_Piece, ...], ...]) -> None:
    pieces = [piece for part in parts for piece in part]
    for piece in pieces:
        _check_piece(piece)
    if len(parts) == 1 or not all(parts):
        raise TemplateInvalid(f"{text!r} must have folders, between single slashes: for example {DEFAULT}")
    if any(part[0].text.startswith((".", " ")) for part in parts):
        raise TemplateInvalid(f"{text!r} has a part that begins with a dot or a space; begin it with another character")
    if not text.endswith(_EXT) or text.count("{ext}") != 1:
        raise TemplateInvalid(f"{text!r} must end with {_EXT}, and have it once")
    fields = {piece.field for piece in pieces}
    if not any(map(_is_of_one_job, parts)):
        raise TemplateInvalid(
            f"{text!r} gives two jobs the same name. Put {{job}} between slashes with no other field but {{index}}, "
            "{ext}, dates and hashes beside it, or put {key} after all other fields: for example "
            "{label[sku]}/{job}-{index}.{ext} or {batch}/{label[sku]}-{key}-{index}.{ext}"
        )
    if "index" not in fields and "sha256" not in fields:
        raise TemplateInvalid(f"{text!r} gives the outputs of a job one name. Add {{index}} or {{sha256}}")
    if any(not _are_apart(*pair) for part in parts for pair in pairwise(part)):
        raise TemplateInvalid(f"{text!r} has {{index}} beside another field or a digit. Put a - between them")
    longest = [sum(_LONGEST.get(each.field, len(each.text)) for each in part) + 2 for part in parts]
    if max(longest) > MOST_PART - _ROOM or sum(longest) > MOST_NAME - _ROOM:
        raise TemplateInvalid(
            f"{text!r} can give names of {max(longest)} bytes between slashes, {sum(longest)} in all; at most "
            f"{MOST_PART - _ROOM} and {MOST_NAME - _ROOM} are possible. Use fewer fields, or spread them over folders"
        )


#: Bytes for the mark of `another_name`.
_ROOM = 18


def _check_piece(piece: _Piece) -> None:
    if not piece.field:
        if not _LITERAL.fullmatch(piece.text):
            raise TemplateInvalid(
                f"{piece.text!r} has characters that not every file system takes, or a brace that is no field. Use "
                "letters, digits, spaces and . _ , @ + = ( ) -"
            )
        return
    if piece.field not in _LONGEST:
        raise TemplateInvalid(f"there is no field {{{piece.field}}}; there are {_ALL_FIELDS}")
    if (piece.field == "label") != bool(piece.argument):
        raise TemplateInvalid(f"write {{label[name]}} for a label, and no brackets for other fields ({piece.field})")


_ALL_FIELDS = ", ".join(f"{{{each}}}" if each != "label" else "{label[name]}" for each in _LONGEST)


def _is_of_one_job(part: tuple[_Piece, ...]) -> bool:
    """Return whether only one job can have this part.

    What follows a hash has a fixed length, or is the index, whose beginning `_are_apart` marks: so the hash can be
    found from the end. Beside {job} nothing else varies in length.
    """
    fields = [piece.field for piece in part if piece.field]
    last_hash = max((place for place, name in enumerate(fields) if name in _HASHES), default=None)
    if last_hash is not None and all(name in _FIXED or name in ("index", "ext") for name in fields[last_hash + 1 :]):
        return True
    return fields.count("job") == 1 and all(name in _FIXED or name in ("job", "index", "ext") for name in fields)


def _are_apart(one: _Piece, other: _Piece) -> bool:
    """Return whether it can be seen where {index} begins and ends."""
    if "index" not in (one.field, other.field):
        return True
    literal = other.text[:1] if one.field == "index" else one.text[-1:]
    return bool(literal) and not literal.isdigit()
