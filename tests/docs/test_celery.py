"""docs/guides/celery.md agrees with the code. tests/stack/test_celery.py runs its examples."""

import re
from pathlib import Path

from boomerang_client import celery as helpers
from jobs.task_names import GENERATE
from worker.settings import QueueType, Settings

DOCS = Path(__file__).parents[2] / "docs" / "guides"
PAGE = (DOCS / "celery.md").read_text("utf-8")


def test_names_are_as_in_the_code() -> None:
    assert Settings().generate_queue == helpers.QUEUE == "celery"
    assert helpers.TASK == GENERATE
    assert f"BOOMERANG_GENERATE_QUEUE_TYPE={QueueType.QUORUM}" in PAGE


def test_the_first_example_has_eight_lines_as_its_heading_says() -> None:
    first = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    assert len(first.strip().splitlines()) <= 8
