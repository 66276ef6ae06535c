"""The same canvas with boomerang.generate and with a native task: results, calls and their arguments are equal."""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TimeoutError as ResultTimeoutError

from tests.support.own_messages import published_ids, unprocessed
from tests.support.worker_service import ROOT, TETHERED, Service

pytestmark = pytest.mark.stack
WaitFor = Callable[..., None]
TIMEOUT = 20
#: Seconds without work after which no further call is expected.
QUIET = 0.3


@pytest.fixture(scope="module")
def shop_queue(_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a plain Celery worker of another service. Yield its queue."""
    queue = f"shop-{uuid.uuid4().hex[:8]}"
    url = _service.producer.conf.broker_url
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SHOP_URL": url, "SHOP_QUEUE": queue}
    command = ("-m", "celery", "-A", "tests.support.shop_tasks", "worker", "-P", "threads", "-c", "4", "-Q", queue)
    log = tmp_path_factory.mktemp("shop") / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [*TETHERED, str(os.getpid()), sys.executable, *command, "-n", "shop@localhost", "--without-gossip"],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield queue
    finally:
        worker.terminate()
        worker.wait(30)


@dataclass(frozen=True)
class Side:
    """One of the two: its pictures come from this task."""

    app: Celery
    queue: str
    task: str
    picture_queue: str
    prefix: str

    def picture(self, name: str = "a", *, fails: bool = False, **options: Any) -> Any:
        request = {"model": "x" if fails else "kirin_image_omni", "prompt": f"a fox {name}"}
        named = {"task_id": f"{self.prefix}{name}"} if name else {}
        given = {"queue": self.picture_queue, "immutable": True, **named, **options}
        return self.app.signature(self.task, kwargs=request, **given)

    def shop(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.signature(f"shop.{name}", args=args, queue=self.queue, **options)

    def note(self, *args: Any, **options: Any) -> Any:
        return self.shop("note", *args, **options)

    def plain(self, value: Any) -> Any:
        """Replace what must differ: ids, and all of a view but its id and status."""
        if isinstance(value, list | tuple):
            return [self.plain(each) for each in value]
        if isinstance(value, dict):
            kept = {"id": value["id"], "status": value["status"]} if "status" in value else value
            return {name: self.plain(each) for name, each in kept.items()}
        if isinstance(value, str):
            short = value.replace(self.prefix, "#")
            return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "uuid", short)
        return value


Canvas = Callable[[Side], Any]
CANVASES: dict[str, Canvas] = {
    "a picture": lambda s: s.picture(),
    "link": lambda s: s.picture(link=s.note()),
    "two links": lambda s: s.picture(link=[s.note(), s.note(immutable=True)]),
    "an immutable link": lambda s: s.picture(link=s.note("mine", immutable=True)),
    "a partial link": lambda s: s.picture(link=s.note("mine", kwargs={"b": 2})),
    "a group as a link": lambda s: s.picture(link=group([s.note("one"), s.note("two")], app=s.app)),
    "a group and a task as links": lambda s: s.picture(link=[group([s.note("one")], app=s.app), s.note("two")]),
    "a chain as a link": lambda s: s.picture(link=chain(s.note(), s.note(), app=s.app)),
    "a picture as a link": lambda s: s.picture(link=s.picture("b", link=s.note())),
    "an ignored link": lambda s: s.picture(link=s.note(ignore_result=True)),
    "a link's own priority": lambda s: s.picture(link=s.note(priority=5)),
    "link_error": lambda s: s.picture(fails=True, link=s.note("no"), link_error=s.note()),
    "two link_errors": lambda s: s.picture(fails=True, link_error=[s.note(), s.note("x", immutable=True)]),
    "on_error of a chain": lambda s: chain(s.picture(fails=True), s.note("no"), app=s.app).on_error(s.note()),
    "chain": lambda s: chain(s.picture(), s.note(), app=s.app),
    "a chain of pictures": lambda s: chain(s.picture("a"), s.picture("b"), s.note(), app=s.app),
    "a chain that fails in its middle": lambda s: chain(
        s.picture(), s.picture("b", fails=True), s.note("no"), app=s.app
    ),
    "map": lambda s: chain(s.picture(), _built_in(s, "map", [1, 2]), app=s.app),
    "starmap": lambda s: chain(s.picture(), _built_in(s, "starmap", [[1, 2], [3, 4]]), app=s.app),
    "chunks": lambda s: chain(
        s.picture(), group([_chunk(s, [[1], [2]]), _chunk(s, [[3]])], app=s.app), s.note(), app=s.app
    ),
    "group": lambda s: group([s.picture("a"), s.picture("b")], app=s.app),
    "a group with a failure": lambda s: group([s.picture("a"), s.picture("b", fails=True)], app=s.app),
    "a group in a chain": lambda s: chain(
        s.picture(), group([s.picture("b"), s.shop("echo", 7, immutable=True)], app=s.app), app=s.app
    ),
    "a chain in a group": lambda s: group([chain(s.picture("a"), s.note(), app=s.app), s.picture("b")], app=s.app),
    "chord": lambda s: chord([s.picture("a"), s.picture("b")], s.note(), app=s.app),
    "a picture as a chord's body": lambda s: chord([s.picture("a"), s.picture("b")], s.picture("c"), app=s.app),
    "a map as a chord's body": lambda s: chord(
        [s.picture("a"), s.picture("b")], _built_in(s, "map", [1, 2]), app=s.app
    ),
    "a chord in a chord": lambda s: chord(
        [chord([s.picture("a"), s.picture("b")], s.note("inner"), app=s.app), s.picture("c")],
        s.note("outer"),
        app=s.app,
    ),
    "a chord in a chain": lambda s: chain(
        s.picture("a"), chord([s.picture("b"), s.picture("c")], s.note(), app=s.app), s.note("end"), app=s.app
    ),
    "a chord with a failure": lambda s: chord(
        [s.picture("a"), s.picture("b", fails=True)], s.note("no").on_error(s.note("sorry", immutable=True)), app=s.app
    ),
    "a chord of failures": lambda s: chord(
        [s.picture("a", fails=True), s.picture("b", fails=True)],
        s.note("no").on_error(s.note("sorry", immutable=True)),
        app=s.app,
    ),
    "replace": lambda s: s.shop("replace_by", [s.picture("")], kwargs={"grouped": False}),
    "replace, with what follows": lambda s: chain(
        s.shop("replace_by", [s.picture("")], kwargs={"grouped": False}), s.note(), app=s.app
    ),
    "replace by a group": lambda s: s.shop("replace_by", [s.picture("a"), s.picture("b")], kwargs={"grouped": True}),
    "replace by a group, with what follows": lambda s: chain(
        s.shop("replace_by", [s.picture("a"), s.picture("b")], kwargs={"grouped": True}), s.note(), app=s.app
    ),
    # Both have the same index in the chord, so their ids decide about the order.
    "add_to_chord": lambda s: chord(
        [s.shop("add_to_chord", s.picture(), task_id=f"{s.prefix}0"), s.picture("b")], s.note(), app=s.app
    ),
    "ignore_result": lambda s: s.picture(ignore_result=True, link=s.note()),
    "stamps": lambda s: _stamped(s.picture(link=s.note())),
    "a chain with ignored members": lambda s: chain(s.picture(ignore_result=True), s.note(), app=s.app),
    "a link that fails to be sent": lambda s: s.picture(link=s.picture("b", immutable=False), link_error=s.note()),
    "a chain that fails to be sent": lambda s: chain(
        s.picture(), s.picture("b", immutable=False), s.note(), app=s.app
    ).on_error(s.note("sorry")),
    "a picture as an errback": lambda s: s.picture(fails=True, link_error=s.picture("b", link=s.note())),
    "ignore_result of a failure": lambda s: s.picture(fails=True, ignore_result=True, link_error=s.note()),
    "a stamped chain": lambda s: _stamped(chain(s.picture(), s.note(), s.note(), app=s.app)),
    "a stamped chord": lambda s: _stamped(chord([s.picture("a"), s.picture("b")], s.note(), app=s.app)),
    "a failure before a chord": lambda s: chain(
        s.picture(fails=True), chord([s.picture("b"), s.picture("c")], s.note("no"), app=s.app), app=s.app
    ),
    "a group in a chord": lambda s: chord(
        [group([s.picture("a"), s.picture("b")], app=s.app), s.picture("c")], s.note(), app=s.app
    ),
    "a failure in a nested chord": lambda s: chord(
        [chord([s.picture("a"), s.picture("b", fails=True)], s.note("no"), app=s.app), s.picture("c")],
        s.note("no").on_error(s.note("sorry", immutable=True)),
        app=s.app,
    ),
    "a group as a chord's body": lambda s: chord(
        [s.picture("a"), s.picture("b")], group([s.note("one"), s.note("two")], app=s.app), app=s.app
    ),
    "replace by a chord": lambda s: s.shop(
        "replace_by", [chord([s.picture("a"), s.picture("b")], s.note(), app=s.app)], kwargs={"grouped": False}
    ),
    "replace by a failure": lambda s: s.shop("replace_by", [s.picture("", fails=True)], kwargs={"grouped": False}),
    "positional arguments": lambda s: s.picture(args=("a fox",), link=s.note("no"), link_error=s.note()),
}
#: Canvases that store no result.
SILENT = {"ignore_result", "ignore_result of a failure"}


def _built_in(side: Side, name: str, items: list[Any]) -> Any:
    echo = dict(side.shop("echo"))
    return side.app.signature(f"celery.{name}", kwargs={"task": echo, "it": items}, queue=side.queue, immutable=True)


def _chunk(side: Side, items: list[Any]) -> Any:
    kwargs = {"task": dict(side.shop("echo")), "it": items}
    return side.app.signature("celery.starmap", kwargs=kwargs, queue=side.queue, immutable=True)


def _stamped(signature: Any) -> Any:
    signature.stamp(order="o-7")
    return signature


class Runner:
    """Runs a canvas on one side and returns everything that a producer can see."""

    def __init__(self, service: Service, queue: str, wait_for: WaitFor) -> None:
        self._service, self._queue, self._wait_for = service, queue, wait_for
        self._notes = f"{queue}-notes"

    def side(self, *, native: bool) -> Side:
        task, queue = ("shop.picture", self._queue) if native else ("boomerang.generate", "celery")
        return Side(self._service.producer, self._queue, task, queue, f"{uuid.uuid4().hex[:8]}-")

    def __call__(self, canvas: Canvas, side: Side, *, silent: bool) -> dict[str, Any]:
        self._service.redis.delete(self._notes)
        with published_ids() as ids:
            result = canvas(side).apply_async()
            seen: dict[str, Any] = {"result": None if silent else self._result(result)}
            self._settle({side.prefix, *ids})
        seen["state"] = getattr(result, "state", None)
        seen["calls"] = sorted(self._call(side, text) for text in self._service.redis.lrange(self._notes, 0, -1))
        seen["children"] = self._children(result)
        return {**seen, "result": side.plain(seen["result"])}

    def _call(self, side: Side, text: str | bytes) -> str:
        call = side.plain(json.loads(text))
        if call["args"] and isinstance(call["args"][0], list):
            # The parent of a chord's body is the member that ended last.
            del call["parent"], call["root"]
        return json.dumps(call, sort_keys=True)

    def _result(self, result: Any) -> Any:
        try:
            return result.get(TIMEOUT)
        except ResultTimeoutError:
            return "nothing came"
        except Exception:  # noqa: BLE001 - the classes differ by design
            return "it failed"

    def _children(self, result: Any) -> Any:
        return len(result.children or ()) if hasattr(result, "children") else None

    def _settle(self, marks: set[str]) -> None:
        """Wait until for a while no message or job of this canvas has work left. Their ids contain one of `marks`."""
        redis, busy_at = self._service.redis, time.monotonic()

        def idle() -> bool:
            jobs = [str(job_id) for job_id in redis.zrange("{b}:alarms", 0, -1)]
            left = any(mark in job_id for job_id in jobs for mark in marks)
            return not (left or unprocessed(redis, marks, self._queue))

        def quiet() -> bool:
            nonlocal busy_at
            if not idle():
                busy_at = time.monotonic()
            return time.monotonic() - busy_at > QUIET

        self._wait_for(quiet, TIMEOUT)


@pytest.fixture
def run(service: Service, shop_queue: str, wait_for: WaitFor) -> Runner:
    return Runner(service, shop_queue, wait_for)


@pytest.mark.parametrize("name", CANVASES)
def test_a_canvas_does_what_the_native_one_does(name: str, run: Runner) -> None:
    silent = name in SILENT
    native = run(CANVASES[name], run.side(native=True), silent=silent)
    ours = run(CANVASES[name], run.side(native=False), silent=silent)
    assert native["result"] != "nothing came"
    assert ours == native
