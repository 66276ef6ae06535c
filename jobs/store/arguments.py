"""Conversion of values into arguments of the scripts."""

from collections.abc import Sequence

from jobs.new_job import NewJob
from jobs.room import Room


def flag(value: bool) -> str:  # noqa: FBT001 - the value is what it converts
    """Convert a boolean."""
    return "1" if value else "0"


def within(room: Room | None) -> str:
    """Convert limits of unfinished jobs (None: no limit)."""
    return room.to_script_json() if room else ""


def job_arguments(jobs: Sequence[NewJob]) -> list[str]:
    """Convert new jobs: three arguments each."""
    args: list[str] = []
    for job in jobs:
        args += (job.id, job.text, job.to_script_json())
    return args
