"""Numbers on the pages equal those of the code."""

import re
from pathlib import Path

import pytest

from jobs.store.celery_messages import MOST_PARKED, REVOKE_KEPT
from jobs.store.lua_source import CHANGES_KEPT
from schemas.queries.jobs import LONGEST_WAIT
from schemas.queries.parameters import MAX_PAGE
from schemas.requests import base
from schemas.requests.producer_texts import Labels
from schemas.urls import MAX_IMAGE_URL, MAX_URL
from webhook import gunicorn_conf, places
from webhook.api.upload_progress import MOST_ERRORS
from webhook.backpressure import RETRY_AFTER
from webhook.http.connection import LEAST_RATE
from webhook.server.pools import CALLBACKS
from webhook.settings import CONNECTION_LIMIT, JOB_LIMIT
from worker import flower_events
from worker.app import VISIBILITY
from worker.deliver import CONFIRMATION

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS = [
    ("guides/celery", f"{MOST_PARKED}"),
    ("guides/celery", f"{REVOKE_KEPT / 3600:g} hours"),
    ("guides/celery", f"{CONFIRMATION:g} s"),
    ("guides/celery", f"{VISIBILITY // 60} minutes"),
    ("guides/send-jobs", f"{LONGEST_WAIT} s"),
    ("guides/send-jobs", f"{MAX_PAGE}"),
    ("guides/send-batches", f"{MOST_ERRORS:,}"),
    ("guides/send-jobs", f"Retry-After: {RETRY_AFTER}"),
    ("reference/http-errors", f"{JOB_LIMIT // 2**20} MiB"),
    ("reference/requests", f"{MAX_URL:,} characters"),
    ("reference/requests", f"{MAX_IMAGE_URL:,} characters"),
    ("reference/requests", f"{Labels.COUNT} texts"),
    ("reference/requests", f"{Labels.VALUE} characters"),
    ("reference/requests", f"{base.MAX_PROMPT:,} characters"),
    ("guides/monitor", f"{flower_events.MAX_CHANGES:,} changes"),
    ("guides/monitor", f"{CHANGES_KEPT:,}"),
    ("guides/run-processes", f"{gunicorn_conf.threads} threads"),
    ("guides/run-processes", f"{places.WAITS}"),
    ("guides/run-processes", f"{places.TRANSFERS}"),
    ("guides/run-processes", f"{places.DOWNLOADS}"),
    ("guides/run-processes", f"{places.EVENTS}"),
    ("guides/run-processes", f"{places.SLOW}"),
    ("guides/run-processes", f"{places.STRANGERS}"),
    ("guides/run-processes", f"{gunicorn_conf.worker_connections:,}"),
    ("guides/run-processes", f"{CONNECTION_LIMIT}"),
    ("guides/run-processes", f"{CALLBACKS} threads"),
    ("guides/run-processes", f"{LEAST_RATE // 1024} KiB per second"),
]


@pytest.mark.parametrize(("page", "number"), NUMBERS)
def test_a_page_has_the_number_of_the_code(page: str, number: str) -> None:
    text = " ".join((DOCS / f"{page}.md").read_text("utf-8").split())
    assert re.search(rf"(?<![\w,.]){re.escape(number)}(?!\w|,\d)", text)
