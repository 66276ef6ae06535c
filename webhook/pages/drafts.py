"""What the pages that take a file share: reading it into a draft, and the columns that a person maps."""

from collections.abc import Sequence

from flask import request

from webhook.drafts.columns import MEMBERS, PREFIXES, UNUSED
from webhook.drafts.draft import MOST_LINES, MOST_PACKED, Draft
from webhook.drafts.files import ENCODINGS, MOST_FILE, read_file, read_pasted
from webhook.http.bodies import grow
from webhook.services import services

#: Bytes of a form: a file, or a draft, and the fields.
FORM_BYTES = max(MOST_FILE, MOST_PACKED) + 1024 * 1024
#: Bytes that a byte of a form takes while it is handled: the draft, its rows, and its requests.
_MEMORY_FACTOR = 4
#: What the form for a file says of its limits.
LIMITS = {"encodings": list(ENCODINGS.items()), "most_lines": MOST_LINES, "most_bytes": MOST_FILE // 1024**2}


def account() -> None:
    """Account for the memory that the form takes. Raises a problem, 503, if the producer has its share."""
    grow(services().memory.for_body(), _MEMORY_FACTOR * (request.content_length or 0))


def draft_in_form() -> Draft:
    """Return the draft of the file in the form, or of the pasted lines. Raises FileRefused."""
    form, file = request.form, request.files.get("file")
    if file is None or not file.filename:
        return read_pasted(form.get("lines", ""), form.get("kind", ""))
    return read_file(
        file.read(),
        file.filename.rpartition("\\")[2].rpartition("/")[2],
        kind=form.get("kind", ""),
        encoding=form.get("encoding", ""),
        sheet=form.get("sheet", "").strip(),
    )


def uses_in_form(draft: Draft) -> tuple[str, ...]:
    """Return what each column of the draft becomes, as the person chose."""
    return tuple(request.form.get(f"use{place}", UNUSED)[:200] for place in range(len(draft.header)))


def columns(
    draft: Draft, uses: Sequence[str], others: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str, str, list[tuple[str, str]], str]]:
    """Return each column of a draft: its field, its name, its use, the uses to choose from, and an example.

    `others`: uses beside the members of a request.
    """
    choices = [(UNUSED, "leave out"), *((each, each) for each in MEMBERS), *others]
    found = []
    for place, name in enumerate(draft.header):
        use = uses[place] if place < len(uses) else UNUSED
        own = [(name, name)] if name.startswith(PREFIXES) else []
        first = next((cells[place] for _, cells in draft.lines if place < len(cells) and cells[place]), "")
        found.append((f"use{place}", name, use, [*choices, *own], first or ""))
    return found
