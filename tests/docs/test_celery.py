"""docs/celery.md tells what the code does; its own code is run by tests/stack/test_celery.py."""

import re
from pathlib import Path

from boomerang_client import celery as helpers
from jobs.parking import MOST_PARKED, REVOKE_KEPT
from worker.app import VISIBILITY
from worker.deliver import CONFIRMED
from worker.messages import GENERATE
from worker.settings import QueueType, Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "celery.md").read_text("utf-8")
TEXT = " ".join(PAGE.split())


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"wait for one job, {MOST_PARKED} at most" in TEXT
    assert f"remembered for {REVOKE_KEPT / 3600:g} hours" in TEXT
    assert f"sent again after {CONFIRMED:g} s" in TEXT
    assert f"Redis after {VISIBILITY // 60} minutes" in TEXT


def test_the_names_are_those_of_the_code() -> None:
    assert Settings().generate_queue == helpers.QUEUE == "celery"
    assert helpers.TASK == GENERATE
    assert f"BOOMERANG_GENERATE_QUEUE_TYPE={QueueType.QUORUM}" in TEXT


def test_both_pages_show_the_same_eight_lines() -> None:
    (lines,) = re.findall(r"```python\n(from celery import Celery\n.*?)```", PAGE, re.DOTALL)
    assert len(lines.strip().splitlines()) <= 8
    assert lines in (DOCS / "producers.md").read_text("utf-8")
