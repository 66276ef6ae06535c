"""The result of one check of the doctor."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"  #: it works, but not as it should
    BAD = "bad"  #: jobs will be lost, delayed or visible to others


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, its state, and a remedy unless the level is OK.

    `refused`: the check was not possible, because the user lacks a right.
    """

    level: Level
    subject: str
    detail: str
    remedy: str = ""
    refused: bool = False


def ok(subject: str, detail: str) -> Finding:
    """Make a finding that needs no action."""
    return Finding(Level.OK, subject, detail)


def warning(subject: str, detail: str, remedy: str) -> Finding:
    """Make a finding that should be corrected."""
    return Finding(Level.WARNING, subject, detail, remedy)


def bad(subject: str, detail: str, remedy: str) -> Finding:
    """Make a finding that must be corrected."""
    return Finding(Level.BAD, subject, detail, remedy)


def refused(subject: str, detail: str, variable: str) -> Finding:
    """Make a finding for a Redis that refuses the user in the URL of `variable`."""
    remedy = f"Run it as the operator user: docker compose run --rm operator doctor; or name that user in {variable}."
    return Finding(Level.BAD, subject, detail, remedy, refused=True)
