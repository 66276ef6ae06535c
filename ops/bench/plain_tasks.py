"""The plain Celery tasks that the service is compared with.

`plain.post` only submits, which any Celery solution must do. `plain.until_done` is the usual way: submit, then poll
until the result is there, while a thread of the worker waits.
"""

import os
import time
from typing import Any

import requests
from celery import Celery

app = Celery("plain_tasks", broker=os.environ.get("BENCH_BROKER_URL"), set_as_current=False)
app.conf.update(task_ignore_result=True, worker_pool="threads", worker_concurrency=16, task_acks_late=True)

_URL = os.environ.get("BENCH_PROVIDER_URL", "")
_HEADERS = {"Authorization": f"Bearer {os.environ.get('BENCH_PROVIDER_KEY', '')}"}
_TIMEOUT = (3.05, 30)


def _submit(request: dict[str, Any]) -> str:
    model = request.pop("model")
    body = {"model": model, "input": [{"params": request}]}
    answer = requests.post(f"{_URL}/model/v1/generation", json=body, headers=_HEADERS, timeout=_TIMEOUT)
    answer.raise_for_status()
    return str(answer.json()["id"])


@app.task(name="plain.post", shared=False)  # type: ignore[untyped-decorator]
def post(request: dict[str, Any]) -> None:
    """Submit, without waiting for the result."""
    _submit(request)


@app.task(name="plain.until_done", shared=False)  # type: ignore[untyped-decorator]
def until_done(request: dict[str, Any]) -> None:
    """Submit, then poll once a second until the task has ended."""
    task_id = _submit(request)
    url = f"{_URL}/model/v1/generation/task/{task_id}"
    while requests.get(url, headers=_HEADERS, timeout=_TIMEOUT).json()["status"] not in ("completed", "failed"):
        time.sleep(1)
