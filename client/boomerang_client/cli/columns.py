"""Make requests from the rows of a table: which columns are used, for which members, and which cells are refused."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from boomerang_client.cli.damaged_text import damage_of
from boomerang_client.cli.options import seconds_of
from boomerang_client.errors import LineError, UsageError
from boomerang_client.local_images import IMAGE_LISTS, IMAGE_MEMBERS
from boomerang_client.ndjson import Numbered

#: Members of a request that need no --map when a column has the same name.
MEMBERS = (
    "model", "prompt", "n", "aspect_ratio", "resolution", "external_task_id", "callback_url", "priority", "expires_in",
    *IMAGE_LISTS, *IMAGE_MEMBERS,
)  # fmt: skip
#: Members that are objects. Their columns are labels.NAME, metadata.NAME and watermark_info.NAME.
OBJECTS = ("labels", "metadata", "watermark_info")
#: The service's limits of metadata: entries, characters of a name, characters of all names and texts together.
MOST_NAMES, LONGEST_NAME, MOST_METADATA = 64, 128, 8192
#: Separates several images in one cell.
SEPARATOR = "|"
#: Empty cells of templates that are reported one by one. More are only counted.
_MOST_WARNINGS = 3
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
# A table from pandas has 2.0 for 2. Python refuses to parse thousands of digits, which are no number of images anyway.
_WHOLE = re.compile(r"(\d{1,18})(?:\.0+)?")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Columns:
    """How a row becomes a request.

    `mapped`: member → its columns. `templates`: member → text with `{column}` in it. `carry`: put the cells of all
    other columns into the request's metadata. `id_column`: has the job's id where no column is called
    `external_task_id`.
    """

    mapped: Mapping[str, list[str]] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    carry: bool = False
    id_column: str | None = None


class Row(NamedTuple):
    """A row of a table. `number` is as in spreadsheets, from 1. `lines` is how many lines of the file it takes."""

    number: int
    cells: Sequence[str]
    lines: int = 1

    @property
    def is_empty(self) -> bool:
        """Whether no cell has text."""
        return not any(cell.strip() for cell in self.cells)


def read_table(
    rows: Iterator[Row], columns: Columns, defaults: Mapping[str, Any], report: Report = lambda _: None
) -> Iterator[Numbered]:
    """Yield the requests of a table. Its first row that is not empty is the heading.

    `report` is called with messages: columns that are not used, and empty cells in templates. A row with a cell that
    cannot be used becomes a LineError. Raises UsageError when the heading lacks a column or has it twice, and for a
    row whose quotation marks make the number of the next row uncertain.
    """
    heading = next((row for row in rows if not row.is_empty), None)
    if heading is None:
        return
    plan = _plan([one_line(name) for name in heading.cells], columns)
    plan.report(report)
    gaps, left_out = _Warnings(report), _Warnings(report)
    for row in rows:
        if row.is_empty:
            continue
        problem = plan.problem(row.cells)
        if problem and row.lines > 1 and len(row.cells) > len(plan.header):
            # Correcting a quotation mark would give the rows after it other numbers, and so other jobs.
            raise UsageError(f"Row {row.number} {problem} It takes {row.lines} lines: is a quotation mark missing?")
        if problem:
            yield Numbered(row.number, LineError(row.number, {"row": (problem,)}))
            continue
        request, empty = plan.request(row.cells)
        gaps.add(f"row {row.number} has nothing for {', '.join(empty)} in the template" if empty else "")
        too_long = plan.carry(row.cells, request)
        without = f"row {row.number} has too much text for metadata, without {', '.join(too_long)}"
        left_out.add(without if too_long else "")
        yield Numbered(row.number, with_defaults(defaults, request))
    gaps.end("rows have an empty cell in a template")
    left_out.end("rows have too much text for metadata")


class _Warnings:
    """Reports the first warnings of a kind, and counts the others."""

    def __init__(self, report: Report) -> None:
        self._report, self._count = report, 0

    def add(self, text: str) -> None:
        """Report a warning; "" is none."""
        if not text:
            return
        self._count += 1
        if self._count <= _MOST_WARNINGS:
            self._report(f"Warning: {text}.")

    def end(self, text: str) -> None:
        """Report how many there were, if not all were reported."""
        if self._count > _MOST_WARNINGS:
            self._report(f"Warning: {self._count:,} {text}.")


def with_defaults(defaults: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with the defaults of members that it does not have. Labels are combined one by one."""
    merged = {**defaults, **request}
    for name in OBJECTS:
        ours, theirs = defaults.get(name), request.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            merged[name] = {**ours, **theirs}
    return merged


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
    """Return a heading without line breaks and repeated spaces, as it is written in an option."""
    return " ".join(text.split())


def _typed(member: str, text: str) -> Any:
    # Invalid numbers stay text: the service names the member and what it should be.
    if member == "n":
        whole = _WHOLE.fullmatch(text.strip())
        return int(whole[1]) if whole else text
    if member == "expires_in":
        return text if (seconds := seconds_of(text)) is None else math.ceil(seconds)
    if member == "watermark_info.enabled":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower(), text)
    return text


@dataclass(frozen=True)
class _Plan:
    header: list[str]
    places: list[tuple[str, int]]
    templates: Mapping[str, str]
    used: frozenset[int]
    unused: list[str]
    carried: list[tuple[str, int]]

    def report(self, report: Report) -> None:
        """Say what happens to the columns that no member of the request uses."""
        if self.carried:
            report(f"Columns that come along as metadata: {', '.join(name for name, _ in self.carried)}")
        unused = [name for name in self.unused if name]
        if unused:
            report(f"Columns that are not used: {', '.join(unused)}")

    def problem(self, cells: Sequence[str]) -> str:
        """Say why a row cannot become a request, or return ""."""
        if any(cell.strip() for cell in cells[len(self.header) :]):
            return "has more cells than the heading. Put quotes around cells that contain the delimiter."
        for place in self.used:
            damage = damage_of(cells[place]) if place < len(cells) else ""
            if damage:
                return f"column {self.header[place]} {damage}"
        return ""

    def request(self, cells: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Return the request of a row, and the columns of templates that are empty there."""
        request: dict[str, Any] = {}
        for member, place in self.places:
            if place < len(cells) and cells[place].strip():
                assign(request, member, cells[place])
        named = {name: cell.strip() for name, cell in zip(self.header, cells, strict=False)}
        gaps: list[str] = []

        def fill(found: re.Match[str]) -> str:
            name = one_line(found[1])
            text = named.get(name, "")
            if not text and name not in gaps:
                gaps.append(name)
            return text

        for member, template in self.templates.items():
            assign(request, member, _PLACEHOLDER.sub(fill, template))
        return request, gaps

    def carry(self, cells: Sequence[str], request: dict[str, Any]) -> list[str]:
        """Put the other cells of a row into the metadata of its request. Return the columns that do not fit."""
        given: dict[str, Any] = dict(request.get("metadata", {}))
        free = MOST_METADATA - sum(len(name) + len(str(text)) for name, text in given.items())
        left_out = []
        for name, place in self.carried:
            text = cells[place].strip() if place < len(cells) else ""
            if not text:
                continue
            if len(name) + len(text) > free or damage_of(text):
                left_out.append(name)
                continue
            free -= len(name) + len(text)
            given[name] = text
        if given:
            request["metadata"] = given
        return left_out


def _plan(header: list[str], columns: Columns) -> _Plan:
    wanted = [(member, one_line(name)) for member, names in columns.mapped.items() for name in names]
    taken = {*columns.mapped, *columns.templates}
    if columns.id_column in header and "external_task_id" not in header:
        wanted.append(("external_task_id", str(columns.id_column)))
    members = [name for name in dict.fromkeys(header) if name in MEMBERS or name.startswith(_PREFIXES)]
    wanted += [(name, name) for name in members if name not in taken]
    in_templates = {one_line(name) for text in columns.templates.values() for name in _PLACEHOLDER.findall(text)}
    for name in [*(name for _, name in wanted), *sorted(in_templates)]:
        if name not in header:
            near = get_close_matches(name, header, 1)
            guess = f'Did you mean "{near[0]}"?' if near else f"The columns are: {', '.join(header) or 'none'}."
            raise UsageError(f'There is no column "{name}". {guess}')
    if not wanted and not in_templates:
        raise UsageError(f"No column is used. The columns are: {', '.join(header)}. Choose one: --map prompt=COLUMN.")
    single = {name for member, name in wanted if member not in IMAGE_LISTS} | in_templates
    for name in sorted(single):
        if header.count(name) > 1:
            raise UsageError(
                f'The heading has the column "{name}" {header.count(name)} times. Rename all but one; only columns '
                f"for {' and '.join(IMAGE_LISTS)} may repeat."
            )
    places = [(member, place) for member, name in wanted for place, other in enumerate(header) if other == name]
    used = {place for _, place in places} | {header.index(name) for name in in_templates}
    others = [(name, place) for place, name in enumerate(header) if place not in used]
    fit = [(name, place) for name, place in others if _may_name_metadata(name) and header.count(name) == 1]
    explicit = sum(member.startswith("metadata.") for member, _ in places)
    carried = fit[: max(0, MOST_NAMES - explicit)] if columns.carry else []
    unused = [name for name, place in others if (name, place) not in carried]
    return _Plan(header, places, columns.templates, frozenset(used), unused, carried)


def _may_name_metadata(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and not damage_of(name)


_PREFIXES = tuple(f"{name}." for name in OBJECTS)
