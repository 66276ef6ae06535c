"""Conversion of values into arguments of the scripts."""

from collections.abc import Sequence

from jobs.new_job import NewJob


def flag(value: bool) -> str:  # noqa: FBT001 - the value is what it converts
    """Convert a boolean."""
    return "1" if value else "0"


def at_most(jobs: int | None) -> str:
    """Convert a limit of unfinished jobs (None: no limit)."""
    return "" if jobs is None else str(jobs)


def job_arguments(jobs: Sequence[NewJob]) -> list[str]:
    """Convert new jobs: three arguments each."""
    args: list[str] = []
    for job in jobs:
        args += (job.id, job.text, job.to_script_json())
    return args
