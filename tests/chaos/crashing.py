"""The real worker and webhook, which can be killed before and after each of their side effects.

`python -m tests.chaos.crashing` starts a worker for each line on stdin; gunicorn serves `application`. The service's
code does not know this module. It wraps the few boundaries through which every side effect goes, and adds two points
to each (tests/chaos/points.py). A file in `armed` with a point's name kills the process there, by SIGKILL, once: the
file moves to `died` and gets the process id.

The file `seen` lists the effects that happened, and all that bypassed the boundaries: writing Redis commands, and
connections, files and processes that were opened.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import wraps
from pathlib import Path
from typing import Any

import celery.app.trace
import celery.apps.worker
import celery.bin.worker
import celery.concurrency.thread
import celery.events
import redis.connection
from celery import signals
from celery.backends.redis import RedisBackend
from celery.worker.request import Request
from flask import request, request_started
from kombu import Producer

import webhook.messages
import worker.messages
from jobs.api_keys import KeyRing
from jobs.blobs.bucket import Bucket
from jobs.images.backends import RedisImages
from jobs.store.audit_trail import AuditTrail
from jobs.store.event_stream import EventStream
from jobs.store.manifests import Manifests
from jobs.store.scripts import Scripts
from ops.local.tether import PR_SET_PDEATHSIG
from tests.chaos.points import (
    BY_TIMER,
    CLOCK,
    FOLDER,
    LOOKS,
    MANIFESTS,
    MESSAGES,
    PROVIDER,
    READING_VERBS,
    STORED,
    short,
    words,
)
from worker.generate.enqueue import GenerateHandler
from worker.notification import Notifier
from worker.provider import Provider
from worker.save.outputs import OutputSaver

#: Redis commands without a lasting change.
READING = LOOKS | words(
    "AUTH CLIENT ECHO EXEC HELLO INFO MGET MULTI PING PUNSUBSCRIBE SCRIPT SELECT SUBSCRIBE UNSUBSCRIBE UNWATCH WATCH"
)
#: Python's audit events for effects outside of the process.
OPENING = words("socket.connect subprocess.Popen os.system os.remove os.mkdir os.rename")

_use_case: ContextVar[str] = ContextVar("use_case", default="")
_inside: ContextVar[bool] = ContextVar("inside", default=False)
_recorded: set[str] = set()


@contextlib.contextmanager
def _unwatched() -> Iterator[None]:
    inside = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(inside)


def note(what: str) -> None:
    """Record an effect in `seen`, once."""
    if what not in _recorded:
        _recorded.add(what)
        with _unwatched(), (_folder / "seen").open("a") as seen:
            seen.write(what + "\n")


def reached(effect: str, side: str) -> None:
    """Kill this process if the point is armed."""
    point = f"{_use_case.get()}:{effect}:{side}"
    died = _folder / "died" / point
    with _unwatched(), contextlib.suppress(FileNotFoundError):
        # The rename succeeds in one thread of one process only.
        os.rename(_folder / "armed" / point, died)  # noqa: PTH104 - on the way of every call
        died.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def effect(name: str) -> Iterator[None]:
    """Surround an effect with its two points. Effects inside it are not named separately."""
    if _inside.get() or not _use_case.get():
        yield
        return
    note(f"{_use_case.get()}:{name}")
    reached(name, "before")
    with _unwatched():
        yield
    reached(name, "after")


def wrap(owner: Any, method: str, name: str | Callable[..., str]) -> None:
    """Make each call of a method a named effect. The name may depend on the arguments."""
    original = getattr(owner, method)

    @wraps(original)
    def named(*args: Any, **kwargs: Any) -> Any:
        with effect(name if isinstance(name, str) else name(*args, **kwargs)):
            return original(*args, **kwargs)

    setattr(owner, method, named)


# --- the boundaries ---------------------------------------------------------------------------------------------------


def _state() -> None:
    sent, read, created = Scripts.call_each, Scripts.call_beside, Scripts.__init__

    def one_by_one(self: Scripts, wanted: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send a pipeline's calls one by one, so that it can break off in the middle."""
        answers = []
        for each in wanted:
            with contextlib.nullcontext() if each[0] in READING_VERBS | BY_TIMER else effect(each[0]), _unwatched():
                answers += sent(self, [each])
        return answers

    def reading(self: Scripts, commands: Callable[[Any], None], verb: str, *args: Any) -> tuple[list[Any], Any]:
        assert verb in READING_VERBS
        with _unwatched():
            return read(self, commands, verb, *args)

    def with_clock(self: Scripts, client: Any, keys: Any, *_: Any, **options: Any) -> None:
        created(self, client, keys, CLOCK, **options)

    Scripts.call_each = one_by_one  # type: ignore[assignment]
    Scripts.call_beside = reading  # type: ignore[assignment]
    Scripts.__init__ = with_clock
    for store in (RedisImages, Bucket):
        for method in STORED:
            wrap(store, method, f"image_store.{method}")
    wrap(OutputSaver, "_fetch", "result_store.fetch")
    for method in ("mark", "put"):
        wrap(Bucket, method, f"result_store.{method}")
    _drafts()
    for method in MANIFESTS:
        wrap(Manifests, method, f"manifests.{method}")
    wrap(EventStream, "read_new", "changes")
    wrap(EventStream, "add_task", "task_state")
    wrap(KeyRing, "note_use", "key_used")
    wrap(AuditTrail, "record", "audited")


def _drafts() -> None:
    """Make the opening of a temporary file an effect, but not what happens while it is open."""
    draft = Bucket.draft

    @contextlib.contextmanager
    def named(self: Bucket) -> Iterator[Any]:
        with contextlib.ExitStack() as stack:
            with effect("result_store.draft"):
                opened = stack.enter_context(draft(self))
            try:
                yield opened
            finally:
                with _unwatched():
                    stack.close()

    Bucket.draft = named


def _outside() -> None:
    for method in PROVIDER:
        wrap(Provider, method, f"provider.{method}")
    for method in MESSAGES:
        wrap(worker.messages.Messages, method, f"messages.{method}")
    wrap(webhook.messages.Messages, "send", lambda _, task, *__: f"messages.{short(task)}")
    wrap(Notifier, "post", "notifier")
    wrap(subprocess, "run", "notice")  # only notices to people have a process of their own
    wrap(celery.events.EventDispatcher, "_publish", "events")
    wrap(RedisBackend, "store_result", "result")
    wrap(RedisBackend, "on_chord_part_return", "chord")
    wrap(Request, "acknowledge", "ack")
    # Celery sends the links of a producer's task. What our own messages send is inside of them.
    wrap(Producer, "publish", "celery.send")


def _use_cases() -> None:
    submit, revoke = ThreadPoolExecutor.submit, GenerateHandler.revoke

    def with_context(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, copy_context().run, fn, *args, **kwargs)

    def revoked(self: GenerateHandler, task_ids: list[str]) -> Any:
        if _use_case.get():
            return revoke(self, task_ids)
        control = _use_case.set("revoke")
        try:
            return revoke(self, task_ids)
        finally:
            _use_case.reset(control)

    ThreadPoolExecutor.submit = with_context  # type: ignore[assignment]
    GenerateHandler.revoke = revoked
    # A task's use case lasts until the message is acknowledged, with its result and links; an endpoint's until the
    # response is sent.
    signals.task_prerun.connect(lambda sender, **_: _use_case.set(short(sender.name)), weak=False)
    request_started.connect(lambda _: _use_case.set(request.endpoint or ""), weak=False)


# --- effects without a name -------------------------------------------------------------------------------------------


def _unnamed(what: str) -> None:
    if _use_case.get() and not _inside.get():
        note(f"unnamed, in {_use_case.get()}: {what}")


def _watch() -> None:
    connection: Any = redis.connection.AbstractConnection
    connect, send, pack = connection.connect, connection.send_command, connection.pack_commands

    def command(first: Any, *_: Any) -> None:
        name = (first.decode() if isinstance(first, bytes) else str(first)).split()[0].upper()
        if name not in READING:
            _unnamed(f"Redis: {name}")

    def connecting(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _unwatched():
            return connect(self, *args, **kwargs)

    def sending(self: Any, *args: Any, **kwargs: Any) -> Any:
        command(*args)
        return send(self, *args, **kwargs)

    def packing(self: Any, commands: Any) -> Any:
        commands = list(commands)
        for each in commands:
            command(*each)
        return pack(self, commands)

    connection.connect, connection.send_command, connection.pack_commands = connecting, sending, packing

    def audited(event: str, args: tuple[Any, ...]) -> None:
        if event in OPENING or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")):
            _unnamed(f"{event} {args[0]}")

    sys.addaudithook(audited)


# --- the processes ----------------------------------------------------------------------------------------------------


class _Answer:
    """A response of the webhook to a request that may change something."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        note(f"{_use_case.get()}:answer")
        reached("answer", "before")
        yield from self._parts

    def close(self) -> None:
        # The server calls this after the last byte was sent.
        if hasattr(self._parts, "close"):
            self._parts.close()
        reached("answer", "after")
        _use_case.set("")


def _webhook() -> Callable[..., Any]:
    from webhook.wsgi import app  # noqa: PLC0415 - it reads the environment

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        _use_case.set("")
        parts = app(environ, start_response)
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"} and _use_case.get():
            return _Answer(parts)
        _use_case.set("")
        return parts

    # The server's worker process reads the services from them.
    serve.extensions = app.extensions  # type: ignore[attr-defined]
    return serve


def _worker() -> None:
    """Run one worker after another. Each is forked from this process, whose imports are done, so it starts quickly."""
    from worker.main import app  # noqa: PLC0415 - it reads the environment

    def say(number: int) -> None:
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()

    for _ in sys.stdin:
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.dup2(2, 1)  # stdout belongs to the parent's protocol
            if os.getppid() == parent:
                app.worker_main(["worker", "-l", "INFO"])
            os._exit(1)
        say(child)
        _, status = os.waitpid(child, 0)
        say(os.waitstatus_to_exitcode(status))


_folder = Path(os.environ[FOLDER])
_state()
_outside()
_use_cases()
_watch()
if __name__ == "__main__":
    _worker()
else:
    application = _webhook()
