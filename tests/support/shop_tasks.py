"""Another service's Celery app with a native task in the place of boomerang.generate.

`celery -A tests.support.shop_tasks worker -Q $SHOP_QUEUE`; the environment gives the broker's URL and the queue.
"""

import json
import os
from typing import Any

import redis
from celery import Celery, Task, group

URL = os.environ.get("SHOP_URL", "redis://127.0.0.1:1/0")
QUEUE = os.environ.get("SHOP_QUEUE", "shop")
#: Where `shop.note` writes its calls.
NOTES = f"{QUEUE}-notes"

app = Celery("shop", broker=URL, backend=URL, set_as_current=False)
app.conf.update(task_default_queue=QUEUE, worker_prefetch_multiplier=1)


@app.task(name="shop.picture", bind=True)
def picture(self: Task, /, *, model: str, prompt: str) -> dict[str, str]:
    """Stand for boomerang.generate in a native canvas."""
    if model == "x":
        raise ValueError(model)
    return {"id": self.request.id, "status": "completed"}


@app.task(name="shop.echo")
def echo(*args: Any) -> Any:
    return args[0] if len(args) == 1 else list(args)


@app.task(name="shop.note", bind=True)
def note(self: Task, /, *args: Any, **kwargs: Any) -> Any:
    """Record the call with what Celery gave to it."""
    request = self.request
    given = {
        "args": args,
        "kwargs": kwargs,
        "parent": request.parent_id,
        "root": request.root_id,
        "stamps": request.stamps or {},
        "priority": request.delivery_info.get("priority"),
        "ignore_result": bool(request.ignore_result),
    }
    with redis.Redis.from_url(URL) as client:
        client.rpush(NOTES, json.dumps(given, sort_keys=True))
    return args[0] if args else None


@app.task(name="shop.replace_by", bind=True)
def replace_by(self: Task, signatures: list[Any], *, grouped: bool) -> Any:
    """Replace this task by another one, or by a group."""
    each = [app.signature(given) for given in signatures]
    raise self.replace(group(each, app=app) if grouped else each[0])


@app.task(name="shop.add_to_chord", bind=True)
def add_to_chord(self: Task, signature: Any) -> str:
    """Add a member to the chord of this task."""
    self.add_to_chord(app.signature(signature))
    return "added"
