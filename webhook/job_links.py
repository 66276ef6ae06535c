"""Links from a job to where an operator keeps its trace and its logs, made from templates of the settings."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from marshmallow import ValidationError

from jobs.connections.urls import url_of
from jobs.job import Job

#: What a template may name, and how it is found.
PLACEHOLDERS: Mapping[str, Callable[[Job], str | None]] = {
    "id": lambda job: job.id,
    "external_id": lambda job: job.external_task_id,
    "task_id": lambda job: job.task_id,
}
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)


def check_template(template: str) -> None:
    """Raise `ValidationError` unless this is a template of an address: http(s), with known placeholders only."""
    url_of("http", "https")(template)
    names = _PLACEHOLDER.findall(template)
    if unknown := [name for name in names if name not in PLACEHOLDERS]:
        raise ValidationError(f"has the unknown placeholder {{{unknown[0]}}}; known are {_KNOWN}")
    if re.search("[{}]", _PLACEHOLDER.sub("", template)):
        raise ValidationError("has a brace that belongs to no placeholder; write it as %7B or %7D")
    if not names:
        raise ValidationError(f"names no job; put one of {_KNOWN} into it")
    if any(mark in urlsplit(template).netloc for mark in "{@"):
        raise ValidationError("must have neither a placeholder nor a password in its host")


def link_to(template: str | None, job: Job) -> str | None:
    """Return the address for a job; None without a template, or while the job has no such id."""
    if template is None:
        return None
    values = {name: PLACEHOLDERS[name](job) for name in _PLACEHOLDER.findall(template)}
    if None in values.values():
        return None
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]] or "", safe=""), template)
