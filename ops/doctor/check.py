"""What the doctor says: one line for each thing it looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  #: works, but not as it should
    BAD = "bad"  #: jobs will be lost, held up or seen by strangers


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and (unless it is well) what to do.

    `refused`: it could not be looked at, since the user lacks a right.
    """

    level: Level
    about: str
    said: str
    do: str = ""
    refused: bool = False


def ok(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, about, said)


def warning(about: str, said: str, do: str) -> Finding:
    """It works, but not as it should."""
    return Finding(Level.WARNING, about, said, do)


def bad(about: str, said: str, do: str) -> Finding:
    """It must be mended."""
    return Finding(Level.BAD, about, said, do)


def refused(about: str, said: str, variable: str) -> Finding:
    """A Redis refuses the user of that variable's URL."""
    do = f"Run it as the operator user: docker compose run --rm operator doctor; or name that user in {variable}."
    return Finding(Level.BAD, about, said, do, refused=True)
