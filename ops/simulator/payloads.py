"""Bodies: a task as the status endpoint shows it, a callback in each published shape, and both in other dialects."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ops.simulator.faults import Faults
from ops.simulator.tasks import Failure, Status, Task
from ops.simulator.validate import REFERENCE2IMAGE

Body = dict[str, Any]

#: Status words that other gateways and upstreams have been seen to use for the same thing.
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


def urls(task: Task) -> list[str]:
    """Where the task's pictures are."""
    return [f"{task.base}/images/{task.id}/{index}.png" for index in range(task.purchase.n)]


def shown(task: Task, now: float, *, echo: bool) -> Body:
    """The gateway's task."""
    body: Body = {"id": task.id, "status": task.status.value, "model": task.purchase.model}
    if echo:
        body["external_task_id"] = task.purchase.external_task_id
    if task.status is Status.IN_PROGRESS:
        return body | {"progress": task.progress(now)}
    if task.status is Status.COMPLETED:
        return body | _completed(task)
    return body | _failed(task, task.failure or UNSAID)


def _completed(task: Task) -> Body:
    content = [{"type": "image", "url": url, "jobId": f"{task.id}-{index}"} for index, url in enumerate(urls(task))]
    return {
        "output": [{"content": content}],
        "usage": {"cost": str(task.purchase.cost), "discount": 1},
        "metadata": {},
    }


UNSAID = Failure("002016095", "Internal generation error")


def _failed(task: Task, failure: Failure) -> Body:
    # One page names the text error_message, the other message.
    text = "error_message" if task.purchase.model == REFERENCE2IMAGE else "message"
    cost = str(task.purchase.cost) if task.purchase.billed else ""
    return {"error": {"code": failure.code, text: failure.message}, "usage": {"cost": cost}}


def submitted(task: Task) -> Body:
    """The answer to a submission."""
    return {
        "id": task.id,
        "status": Status.IN_PROGRESS.value,
        "model": task.purchase.model,
        "created_at": int(task.purchase.at),
    }


def in_dialect(body: Body, faults: Faults, who: str, occasion: str) -> Body:
    """The same task in words that other senders use. Says the same: nothing is lost but the neatness."""

    def pick(what: str, options: Sequence[Any]) -> Any:
        return faults.pick(f"dialect.{what}", who, occasion, options)

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
    """Callback shape 1: the task as the status endpoint shows it, at that status."""
    if status is task.status:
        return shown(task, now, echo=echo)
    body: Body = {"id": task.id, "status": status.value, "model": task.purchase.model}
    if echo:
        body["external_task_id"] = task.purchase.external_task_id
    if status is Status.IN_PROGRESS:
        return body | {"progress": 0.0}
    return body | (_failed(task, UNSAID) if status is Status.FAILED else _completed(task))


_KLING = {Status.IN_PROGRESS: "submitted", Status.COMPLETED: "succeed", Status.FAILED: "failed"}


def kling(task: Task, status: Status) -> Body:
    """Callback shape 2. Its task_id is the upstream's, not the one that the submission's answer named; no usage."""
    at = int(time.time() * 1000)
    body: Body = {
        "task_id": f"up-{task.id}",
        "task_status": _KLING[status],
        "task_status_msg": (task.failure or UNSAID).message if status is Status.FAILED else "",
        "task_info": {"external_task_id": task.purchase.external_task_id},
        "created_at": int(task.purchase.at * 1000),
        "updated_at": at,
    }
    if status is Status.COMPLETED:
        body["task_result"] = {"images": [{"index": index, "url": url} for index, url in enumerate(urls(task))]}
    return body


_KLING_NEW = {Status.IN_PROGRESS: "submitted", Status.COMPLETED: "succeeded", Status.FAILED: "failed"}


def kling_new(task: Task, status: Status) -> Body:
    """Callback shape 3, newer; no usage either."""
    at = int(time.time() * 1000)
    body: Body = {
        "id": f"up-{task.id}",
        "status": _KLING_NEW[status],
        "message": (task.failure or UNSAID).message if status is Status.FAILED else "",
        "external_id": task.purchase.external_task_id,
        "create_time": int(task.purchase.at * 1000),
        "update_time": at,
    }
    if status is Status.COMPLETED:
        body["outputs"] = [{"type": "image", "url": url, "watermark_url": url} for url in urls(task)]
    return body


def minimal(_task: Task, status: Status) -> Body:
    """JSON of no known shape: all it says is that something happened."""
    return {"event": "task.updated", "final": status is not Status.IN_PROGRESS}


FOREIGN: dict[str, Callable[[Task, Status], Body]] = {"kling": kling, "kling-new": kling_new, "minimal": minimal}
