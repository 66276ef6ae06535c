"""What one would write without Boomerang: a plain Celery task. The benchmark runs it in a worker of its own.

`bare.post` only submits: the floor that any Celery solution stands on. `bare.until_done` is the usual recipe: submit,
then poll until the result is there, a worker's slot held all the while.
"""

import os
import time
from typing import Any

import requests
from celery import Celery

app = Celery("recipes", broker=os.environ.get("BENCH_BROKER_URL"), set_as_current=False)
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


@app.task(name="bare.post", shared=False)  # type: ignore[untyped-decorator]
def post(request: dict[str, Any]) -> None:
    """Submit, and nothing else."""
    _submit(request)


@app.task(name="bare.until_done", shared=False)  # type: ignore[untyped-decorator]
def until_done(request: dict[str, Any]) -> None:
    """Submit, and poll once a second until it is done."""
    task_id = _submit(request)
    url = f"{_URL}/model/v1/generation/task/{task_id}"
    while requests.get(url, headers=_HEADERS, timeout=_TIMEOUT).json()["status"] not in ("completed", "failed"):
        time.sleep(1)
