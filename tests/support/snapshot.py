"""Save the Redis data of this version of the service, with a job in every state.

Run `python -m tests.support.snapshot > tests/worker/snapshots/<name>.json` with the code of a version at its
release, and before jobs.job.VERSION is raised. `test_rolling_deploy.py` continues each file with the current code.
"""

import base64
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from celery import Celery
from PIL import Image

from jobs.fields import VERSION
from jobs.new_job import NewJob
from jobs.owners import ANYONE
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from ops.local import redis_server
from schemas import checked_in, load_request
from tests.support.simulator import Simulator
from tests.support.world import CLOCK, World, request_of
from worker.generate.enqueue import GenerateCall, GenerateHandler
from worker.generate.unreachable import Reachability

REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}
#: The address of notifications. `test_rolling_deploy.py` replaces it by its own listener's.
HOOK = "http://listener.example/hook"
AGAIN = Result(error={"code": "002016095", "message": "internal"})


class Life:
    """Jobs named after their states. `bought` are the external ids that the provider has."""

    def __init__(self, w: World) -> None:
        self.w = w
        self.bought: list[str] = []

    def claim(self, job_id: str, **more: Any) -> Any:
        self.w.enqueue(job_id, **more)
        self.w.store.attempts.admit(500)
        (claim,) = self.w.store.attempts.claim([job_id])
        return claim

    def progress(self, job_id: str, **more: Any) -> Any:
        claim = self.claim(job_id, **more)
        self.w.store.attempts.mark_in_progress(job_id, claim.fence, f"task-of-{job_id}")
        self.bought.append(claim.external_task_id)
        return claim

    def in_doubt(self, job_id: str, *, bought: bool) -> None:
        claim = self.claim(job_id)
        self.w.store.attempts.mark_in_doubt(job_id, claim.fence, "read timed out")
        self.bought += [claim.external_task_id] * bought

    def make(self) -> None:
        w, store = self.w, self.w.store
        done = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
        # Ended
        self.progress("completed")
        store.attempts.finish("completed", State.COMPLETED, done, "callback")
        self.progress("owes-a-notification", callback_url=HOOK)
        store.attempts.finish("owes-a-notification", State.COMPLETED, done, "callback")
        self.claim("failed")
        store.attempts.finish("failed", State.FAILED, Result(error={"code": "1201", "message": "no"}), "submit")
        self.bought[:] = []
        self.progress("cancelled-at-work")
        store.jobs.cancel("cancelled-at-work")
        w.store = Store(w.redis, replace(w.settings, deadline=1.0), clock=CLOCK)
        self.progress("expired-at-work")
        w.store = store
        w.ahead(2)
        for due in store.attempts.claim_due(100).dues:
            if due.job.id == "expired-at-work":
                store.attempts.expire(due, 1.0)
        w.enqueue("cancelled-waiting")
        store.jobs.cancel("cancelled-waiting")
        # At the provider, or in doubt
        self.progress("in-progress")
        self.progress("to-be-notified", callback_url=HOOK)
        self.progress("second-attempt")
        store.attempts.finish("second-attempt", State.FAILED, AGAIN, "poll")
        self.bought.remove("second-attempt")
        self.in_doubt("in-doubt-bought", bought=True)
        self.in_doubt("in-doubt-not-bought", bought=False)
        self.claim("claimed-and-sent")
        self.bought.append("claimed-and-sent")
        self.claim("claimed")
        # Being submitted
        w.enqueue("admitted", "admitted-without-message")
        assert set(store.attempts.admit(500).ids) >= {"admitted", "admitted-without-message"}
        w.messages.submit([["admitted"]])
        # Queued
        w.enqueue("waiting", "paused")
        store.jobs.pause("paused")
        self._batches()
        self._image()
        self._celery()
        w.messages.deliver(["owes-a-notification"])

    def _batches(self) -> None:
        store = self.w.store

        def enqueue(batch: str, **more: Any) -> None:
            text = request_of().text()
            jobs = [NewJob(id=f"{batch}-{number}", text=text, model=REQUEST["model"], **more) for number in range(3)]
            store.jobs.enqueue(jobs, batch)

        enqueue("batch", labels={"shop": "berlin"})
        enqueue("paused-batch")
        store.batches.pause("paused-batch")
        enqueue("being-cancelled")
        store.context.scripts.call("begin_sweep", "being-cancelled", "cancel", "", "0", ANYONE, "")
        enqueue("delayed", delay=1.0)

    def _image(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (320, 300)).save(buffer, "PNG")
        given = {**REQUEST, "image_list": [{"image": base64.b64encode(buffer.getvalue()).decode()}]}
        request = checked_in(load_request(given), self.w.images.put)
        self.w.store.jobs.enqueue([NewJob(id="with-an-image", text=request.text(), model=request.model)])

    def _celery(self) -> None:
        reaches = Reachability(self.w.app)
        handler = GenerateHandler(self.w.store, self.w.messages, self.w.images, reaches, allow_private_hosts=True)
        handler(GenerateCall(task_id="parked", request=REQUEST, continuation=json.dumps({"task_id": "parked"})))
        app = Celery(broker=self.w.settings.broker_url, backend=self.w.settings.redis_url, set_as_current=False)
        app.send_task("boomerang.generate", kwargs=REQUEST, task_id="not-received", ignore_result=True)
        app.close()


def kept(w: World) -> dict[str, Any]:
    """Return all of Redis: key → the value from which `restored` in test_rolling_deploy.py restores it."""
    readers = {
        b"string": w.binary.get,
        b"hash": w.binary.hgetall,
        b"list": lambda key: w.binary.lrange(key, 0, -1),
        b"set": w.binary.smembers,
        b"zset": lambda key: w.binary.zrange(key, 0, -1, withscores=True),
        b"stream": lambda key: [fields for _, fields in w.binary.xrange(key)],
    }
    keys = {}
    for key in sorted(w.binary.scan_iter()):
        kind = w.binary.type(key)
        keys[key.decode()] = {"type": kind.decode(), "value": text(readers[kind](key))}
    return keys


def text(value: Any) -> Any:
    """Return a value that JSON can hold. Bytes that are not UTF-8 become base64."""
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return {"base64": base64.b64encode(value).decode()}
        case dict():
            return {name.decode(): text(each) for name, each in value.items()}
        case list() | set() | tuple():
            items = sorted(value) if isinstance(value, set) else value
            return [text(each) for each in items]
    return value


def main() -> None:
    """Write it to standard output."""
    simulator = Simulator()
    with tempfile.TemporaryDirectory() as folder, redis_server.running(Path(folder), durable=False) as server:
        w = World(
            server.url,
            simulator.url,
            connect_timeout=0.1,
            read_timeout=0.1,
            submit_lease=6.0,
            lookup_grace=0.5,
            poll_first=0.2,
            allow_private_hosts=True,
        )
        assert w.store.continuity.establish(w.store.continuity.standing())
        life = Life(w)
        life.make()
        whole = {"version": VERSION, "now": w.now(), "bought": life.bought, "keys": kept(w)}
        w.close()
    simulator.close()
    json.dump(whole, sys.stdout, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()
