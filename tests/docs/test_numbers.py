"""Numbers that pages tell are those of the code, whatever the sentence around them."""

import re
from pathlib import Path

import pytest

from jobs.store.celery_messages import MOST_PARKED, REVOKE_KEPT
from jobs.store.lua_source import CHANGES_KEPT
from schemas.api import LONGEST_WAIT, MAX_PAGE
from schemas.requests import base
from schemas.requests.fields import Labels
from schemas.urls import MAX_URL
from webhook import gunicorn_conf, services
from webhook.api.uploads import MOST_ERRORS
from webhook.backpressure import RETRY_AFTER
from webhook.settings import JOB_LIMIT
from worker import flower_events
from worker.app import VISIBILITY
from worker.deliver import CONFIRMED

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS = [
    ("celery", f"{MOST_PARKED}"),
    ("celery", f"{REVOKE_KEPT / 3600:g} hours"),
    ("celery", f"{CONFIRMED:g} s"),
    ("celery", f"{VISIBILITY // 60} minutes"),
    ("producers", f"{LONGEST_WAIT} s"),
    ("producers", f"{MAX_PAGE}"),
    ("producers", f"{MOST_ERRORS:,}"),
    ("producers", f"Retry-After: {RETRY_AFTER}"),
    ("producers", f"{JOB_LIMIT // 2**20} MiB"),
    ("producers", f"{MAX_URL:,} characters"),
    ("producers", f"{Labels.COUNT} texts"),
    ("producers", f"{Labels.VALUE} characters"),
    ("producers", f"{base.MAX_PROMPT:,} characters"),
    ("operations", f"{flower_events.MOST:,} changes"),
    ("operations", f"{CHANGES_KEPT:,}"),
    ("operations", f"{gunicorn_conf.threads} threads"),
    ("operations", f"{services.WAITS}"),
    ("operations", f"{services.STREAMS}"),
    ("operations", f"{services.EVENTS}"),
]


@pytest.mark.parametrize(("page", "number"), NUMBERS)
def test_a_page_tells_the_number_that_the_code_has(page: str, number: str) -> None:
    text = " ".join((DOCS / f"{page}.md").read_text("utf-8").split())
    assert re.search(rf"(?<![\w,.]){re.escape(number)}(?!\w|,\d)", text)
