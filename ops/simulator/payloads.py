"""Bodies of answers and callbacks: in the gateway's form, in the other published forms, and in dialects."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ops.simulator.faults import Faults
from ops.simulator.tasks import Failure, Status, Task
from ops.simulator.validate import REFERENCE2IMAGE

Body = dict[str, Any]

#: Status words that other gateways and upstreams use for the same status.
DIALECT: dict[Status, Sequence[str]] = {
    Status.IN_PROGRESS: (
        "queued",
        "pending",
        "submitted",
        "in_queue",
        "starting",
        "PROCESSING",
        "running",
        "Generating",
    ),
    Status.COMPLETED: ("complete", "succeed", "SUCCEEDED", "success", "Done", "COMPLETED"),
    Status.FAILED: ("fail", "error", "FAILED", "Cancelled", "canceled", "rejected", "expired"),
}


def image_urls(task: Task) -> list[str]:
    """Return the URLs of the task's images."""
    return [f"{task.base}/images/{task.id}/{index}.png" for index in range(task.purchase.n)]


def status_body(task: Task, now: float, *, echo: bool) -> Body:
    """Return the task as the status endpoint shows it. `echo`: with the external id."""
    body: Body = {"id": task.id, "status": task.status.value, "model": task.purchase.model}
    if echo:
        body["external_task_id"] = task.purchase.external_task_id
    if task.status is Status.IN_PROGRESS:
        return body | {"progress": task.progress(now)}
    if task.status is Status.COMPLETED:
        return body | _completed(task)
    return body | _failed(task, task.failure or DEFAULT_FAILURE)


def _completed(task: Task) -> Body:
    content = [
        {"type": "image", "url": url, "jobId": f"{task.id}-{index}"} for index, url in enumerate(image_urls(task))
    ]
    return {
        "output": [{"content": content}],
        "usage": {"cost": str(task.purchase.cost), "discount": 1},
        "metadata": {},
    }


DEFAULT_FAILURE = Failure("002016095", "Internal generation error")


def _failed(task: Task, failure: Failure) -> Body:
    # The two model pages name the text differently.
    text = "error_message" if task.purchase.model == REFERENCE2IMAGE else "message"
    cost = str(task.purchase.cost) if task.purchase.billed else ""
    return {"error": {"code": failure.code, text: failure.message}, "usage": {"cost": cost}}


def submit_answer(task: Task) -> Body:
    """Return the answer to a submission."""
    return {
        "id": task.id,
        "status": Status.IN_PROGRESS.value,
        "model": task.purchase.model,
        "created_at": int(task.purchase.at),
    }


def in_dialect(body: Body, faults: Faults, subject: str, occasion: str) -> Body:
    """Return a body with the same meaning in other words, types and places, as other senders write it."""

    def pick(what: str, options: Sequence[Any]) -> Any:
        return faults.pick(f"dialect.{what}", subject, occasion, options)

    body = dict(body)
    body["status"] = pick("status", DIALECT[Status(body["status"])])
    if "created_at" in body:
        task_id = body.pop("id")
        body |= pick("id", ({"task_id": task_id}, {"data": {"id": task_id}}, {"data": {"task_id": task_id}}))
    if "output" in body:
        body["output"] = pick("output", (body["output"], body["output"][0]))
        body["error"] = None
        cost = body["usage"]["cost"]
        body["usage"] = {"cost": pick("cost", (cost, float(cost))), "discount": pick("discount", (1, None, "0.9"))}
    elif "error" in body:
        error = dict(body["error"])
        error["code"] = pick("code", (error["code"], int(error["code"])))
        body["error"] = error
    return body


def gateway(task: Task, status: Status, now: float, *, echo: bool) -> Body:
    """Return a callback of shape 1: the task as the status endpoint shows it, with this status."""
    if status is task.status:
        return status_body(task, now, echo=echo)
    body: Body = {"id": task.id, "status": status.value, "model": task.purchase.model}
    if echo:
        body["external_task_id"] = task.purchase.external_task_id
    if status is Status.IN_PROGRESS:
        return body | {"progress": 0.0}
    return body | (_failed(task, DEFAULT_FAILURE) if status is Status.FAILED else _completed(task))


_KLING = {Status.IN_PROGRESS: "submitted", Status.COMPLETED: "succeed", Status.FAILED: "failed"}


def kling(task: Task, status: Status) -> Body:
    """Return a callback of shape 2. Its task_id is the upstream's, not the gateway's; it has no usage."""
    at = int(time.time() * 1000)
    body: Body = {
        "task_id": f"up-{task.id}",
        "task_status": _KLING[status],
        "task_status_msg": (task.failure or DEFAULT_FAILURE).message if status is Status.FAILED else "",
        "task_info": {"external_task_id": task.purchase.external_task_id},
        "created_at": int(task.purchase.at * 1000),
        "updated_at": at,
    }
    if status is Status.COMPLETED:
        body["task_result"] = {"images": [{"index": index, "url": url} for index, url in enumerate(image_urls(task))]}
    return body


_KLING_NEW = {Status.IN_PROGRESS: "submitted", Status.COMPLETED: "succeeded", Status.FAILED: "failed"}


def kling_new(task: Task, status: Status) -> Body:
    """Return a callback of shape 3, the newer one. It has no usage either."""
    at = int(time.time() * 1000)
    body: Body = {
        "id": f"up-{task.id}",
        "status": _KLING_NEW[status],
        "message": (task.failure or DEFAULT_FAILURE).message if status is Status.FAILED else "",
        "external_id": task.purchase.external_task_id,
        "create_time": int(task.purchase.at * 1000),
        "update_time": at,
    }
    if status is Status.COMPLETED:
        body["outputs"] = [{"type": "image", "url": url, "watermark_url": url} for url in image_urls(task)]
    return body


def minimal(_task: Task, status: Status) -> Body:
    """Return JSON of no known shape. It only shows that something happened."""
    return {"event": "task.updated", "final": status is not Status.IN_PROGRESS}


OTHER_SHAPES: dict[str, Callable[[Task, Status], Body]] = {"kling": kling, "kling-new": kling_new, "minimal": minimal}
