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
    """What was looked at, how it is, and (unless it is well) what to do."""

    level: Level
    about: str
    said: str
    do: str = ""


def ok(about: str, said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, about, said)


def warning(about: str, said: str, do: str) -> Finding:
    """It works, but not as it should."""
    return Finding(Level.WARNING, about, said, do)


def bad(about: str, said: str, do: str) -> Finding:
    """It must be mended."""
    return Finding(Level.BAD, about, said, do)
