"""Requests from the lines of a draft: which column becomes which parameter, and which cells are refused."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas import BodyInvalid, parse_json
from webhook.drafts.damaged_text import damage_of
from webhook.drafts.draft import Cell, Draft
from webhook.drafts.errors import FileRefused

#: Members of a request that are lists of objects with one image each, and the name of the image in them.
IMAGE_LISTS: Mapping[str, str] = {"image_list": "image", "subject_image_list": "subject_image"}
#: Members that a column may become.
MEMBERS = (
    "model", "prompt", "n", "aspect_ratio", "resolution", "external_task_id", "callback_url", "priority", "expires_in",
    *IMAGE_LISTS, "scene_image", "style_image",
)  # fmt: skip
#: Members that are objects. A column becomes an entry: `labels.NAME`.
OBJECTS = ("labels", "metadata", "watermark_info")
#: Limits of metadata: entries, characters of a name, characters of all names and texts.
MOST_NAMES, LONGEST_NAME, MOST_METADATA = 64, 128, 8192
#: Separates several images in one cell.
SEPARATOR = "|"
#: A column that becomes an entry of metadata, or a label, under its own name.
AS_METADATA, AS_LABEL, UNUSED = "metadata", "labels", ""
PREFIXES = tuple(f"{name}." for name in OBJECTS)
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
# A table from pandas has 2.0 for 2.
_WHOLE = re.compile(r"(\d{1,18})(?:\.0+)?")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: Headings that people write for a member.
_SYNONYMS = {
    "id": "external_task_id", "task_id": "external_task_id", "job_id": "external_task_id", "prompts": "prompt",
    "text": "prompt", "count": "n", "images": "image_list", "image": "image_list", "ratio": "aspect_ratio",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mapped:
    """How a line becomes a request.

    `uses`: for each column of a table a member, AS_METADATA, AS_LABEL or UNUSED. `template`: the prompt, with
    `{column}` in it. `defaults`: members for lines that lack them.
    """

    uses: tuple[str, ...] = ()
    template: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a draft: its request as JSON, or what is wrong with it."""

    number: int
    request: bytes = b""
    errors: Mapping[str, list[str]] = field(default_factory=dict)


def guess(header: Sequence[str]) -> tuple[str, ...]:
    """Return what each column probably is: a member of its name, or else metadata."""
    taken, uses = set[str](), list[str]()
    exact = {name for name in header if name in MEMBERS}
    metadata = MOST_NAMES - sum(name.startswith("metadata.") for name in header)
    for name in header:
        like = re.sub(r"[\s-]+", "_", name.casefold())
        member = like if like in MEMBERS else _SYNONYMS.get(like, "")
        if name in MEMBERS or name.startswith(PREFIXES):
            member = name
        elif member in exact:
            member = ""  # a column that has exactly this name comes first
        if member in taken and member not in IMAGE_LISTS:
            member = ""
        if not member and metadata > 0 and _may_name_metadata(name) and header.count(name) == 1:
            member, metadata = AS_METADATA, metadata - 1
        taken.add(member)
        uses.append(member)
    return tuple(uses)


def requests(draft: Draft, mapped: Mapped) -> Iterator[Line]:
    """Yield the lines as requests, with their numbers. Raises FileRefused for a mapping that cannot work."""
    if draft.kind == "ndjson":
        return (_of_json(number, str(cells[0]), mapped.defaults) for number, cells in draft.lines)
    if draft.kind == "txt":
        return (_of_prompt(number, str(cells[0]), mapped.defaults) for number, cells in draft.lines)
    return _of_table(draft, mapped)


def with_defaults(defaults: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with the defaults of members that it lacks. Objects are combined entry by entry."""
    merged = {**defaults, **request}
    for name in OBJECTS:
        ours, theirs = defaults.get(name), request.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            merged[name] = {**ours, **theirs}
    return merged


def _of_json(number: int, text: str, defaults: Mapping[str, Any]) -> Line:
    line = text.encode(errors="surrogatepass")
    if defaults:
        try:
            request = parse_json(line)
        except BodyInvalid:
            request = None  # the use case explains what is wrong with the line
        if isinstance(request, dict):
            return Line(number, _dump(with_defaults(defaults, request)))
    return Line(number, line)


def _of_prompt(number: int, prompt: str, defaults: Mapping[str, Any]) -> Line:
    if damage := damage_of(prompt):
        return Line(number, errors={"prompt": [damage]})
    return Line(number, _dump({**defaults, "prompt": prompt}))


def _of_table(draft: Draft, mapped: Mapped) -> Iterator[Line]:
    header, places = draft.header, _places(draft, mapped)
    named_in_template = list(dict.fromkeys(map(one_line, _PLACEHOLDER.findall(mapped.template))))
    for name in named_in_template:
        if header.count(name) != 1:
            problem = "There is no column" if name not in header else "The heading has several columns"
            raise FileRefused(f'{problem} "{name}", which the template names. The columns are: {", ".join(header)}.')
    if not places and not mapped.template:
        raise FileRefused("No column is used. Choose the parameter of one at least.")
    carried = {place for _, place in places if mapped.uses[place] == AS_METADATA}
    read = ({place for _, place in places} - carried) | {header.index(name) for name in named_in_template}
    for number, cells in draft.lines:
        problem = _problem(header, cells, read)
        if problem:
            yield Line(number, errors={"row": [problem]})
            continue
        request: dict[str, Any] = {}
        for member, place in places:
            text = (cells[place] if place < len(cells) else "") or ""
            if place in carried:
                text = "" if damage_of(text) else text.strip()
            if text.strip():
                assign(request, member, text)
        if mapped.template:
            request["prompt"] = _fill(mapped.template, header, cells)
        _trim(request)
        yield Line(number, _dump(with_defaults(mapped.defaults, request)))


def _fill(template: str, header: Sequence[str], cells: Sequence[Cell]) -> str:
    texts = {name: (cell or "").strip() for name, cell in zip(header, cells, strict=False)}
    return _PLACEHOLDER.sub(lambda found: texts.get(one_line(found[1]), ""), template)


def assign(request: dict[str, Any], member: str, text: str) -> None:
    """Set a member of a request from text: a number if the member is one, a list if it holds several images."""
    name, dot, inner = member.partition(".")
    if dot:
        request.setdefault(name, {})[inner] = _typed(member, text)
    elif name in IMAGE_LISTS:
        images = [each.strip() for each in text.split(SEPARATOR) if each.strip()]
        request.setdefault(name, []).extend({IMAGE_LISTS[name]: each} for each in images)
    else:
        request[name] = _typed(name, text)


def one_line(text: str) -> str:
    """Return a heading without line breaks and repeated spaces."""
    return " ".join(text.split())


def _typed(member: str, text: str) -> Any:
    # Numbers that are not valid stay text: the error then names the member and what it should be.
    if member == "n":
        whole = _WHOLE.fullmatch(text.strip())
        return int(whole[1]) if whole else text
    if member == "expires_in":
        found = _DURATION.fullmatch(text.strip())
        return math.ceil(float(found[1]) * _UNITS[found[2]]) if found else text
    if member == "watermark_info.enabled":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower(), text)
    return text


def _places(draft: Draft, mapped: Mapped) -> list[tuple[str, int]]:
    """Return the members with the places of their columns. Raises FileRefused where two columns exclude each other."""
    places = []
    for place, (name, use) in enumerate(zip(draft.header, mapped.uses, strict=False)):
        if use in (AS_METADATA, AS_LABEL):
            if not name or (use == AS_METADATA and not _may_name_metadata(name)):
                raise FileRefused(f"Column {place + 1} has no usable name for {use}. Leave it out, or name it.")
            places.append((f"{use}.{name}", place))
        elif use in MEMBERS or use.startswith(PREFIXES):
            places.append((use, place))
        elif use != UNUSED:
            raise FileRefused(f'There is no parameter "{use[:LONGEST_NAME]}". Choose one of the list.')
    members = Counter(member for member, _ in places if member not in IMAGE_LISTS)
    if mapped.template:
        members["prompt"] += 1
    for member, count in members.items():
        if count > 1 and not (member == "prompt" and mapped.template):
            raise FileRefused(f"{count} columns are {member}. Choose one; only columns with images may repeat.")
    if mapped.template:
        places = [each for each in places if each[0] != "prompt"]
    return places


def _problem(header: Sequence[str], cells: Sequence[Cell], read: set[int]) -> str:
    if any(cell is None or cell.strip() for cell in cells[len(header) :]):
        return "has more cells than the heading. Put quotes around cells that contain the delimiter."
    for place in sorted(read):
        if damage := damage_of(cells[place]) if place < len(cells) else "":
            return f"column {header[place]} {damage}"
    return ""


def _trim(request: dict[str, Any]) -> None:
    """Leave out what does not fit into metadata: it is carried along, and must not refuse a line."""
    given = request.get("metadata")
    if not given:
        return
    free, kept = MOST_METADATA, dict[str, Any]()
    for name, text in given.items():
        size = len(name) + len(str(text))
        if size <= free:
            free, kept[name] = free - size, text
    request["metadata"] = kept


def _may_name_metadata(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and not damage_of(name)


def _dump(request: Mapping[str, Any]) -> bytes:
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
