"""Callbacks: which ones a change of a task causes, their bodies, and the sender that delivers them."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from yarl import URL

from ops.simulator import payloads
from ops.simulator.faults import Faults
from ops.simulator.settings import Settings
from ops.simulator.tasks import Status, Task

_HEADERS = {"Content-Type": "application/json"}
_GARBAGE = (
    b"not json",
    b"[" * 30_000,
    b'{"status": NaN}',
    b"\xff\xfe\x00",
    b'{"id": 1, "id": 2}',
    b'"\\ud800"',
    b"[]",
    b"",
)


class Timers:
    """Timers that can all be cancelled at once."""

    def __init__(self) -> None:
        self._handles: dict[object, asyncio.TimerHandle] = {}

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` after `delay` seconds, unless it is cancelled."""
        timer = object()

        def fire() -> None:
            del self._handles[timer]
            action()

        self._handles[timer] = asyncio.get_running_loop().call_later(delay, fire)

    def cancel_all(self) -> None:
        """Cancel all timers."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()


@dataclass(slots=True, eq=False)
class Delivery:
    """A callback to send. `then` is sent when this one was answered or given up."""

    url: str
    body: bytes
    then: "Delivery | None" = None
    retries: int = 0


class Sender:
    """Sends callbacks over a bounded number of kept-alive connections, with a few repeats."""

    def __init__(self, settings: Settings, timers: Timers) -> None:
        self.sent = 0
        self.refused = 0
        self.given_up = 0
        self._settings = settings
        self._timers = timers
        self._waiting: deque[Delivery] = deque()
        self._busy: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    @property
    def waiting(self) -> int:
        """Number of callbacks that wait for a connection."""
        return len(self._waiting)

    async def start(self) -> None:
        """Open the HTTP session. Needs a running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=self._settings.callback_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    async def stop(self) -> None:
        """Drop waiting callbacks, cancel those being sent, and close the session."""
        self._waiting.clear()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def forget(self) -> None:
        """Drop waiting callbacks and reset the counts."""
        self._waiting.clear()
        self.sent = self.refused = self.given_up = 0

    def send(self, delivery: Delivery) -> None:
        """Queue a callback."""
        self._waiting.append(delivery)
        if len(self._busy) < self._settings.callback_connections:
            task = asyncio.get_running_loop().create_task(self._drain())
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)

    async def deliver(self, delivery: Delivery) -> None:
        """Send a callback now. If it fails, schedule a repeat and return."""
        if await self._post(delivery):
            self._send_next(delivery)
        elif delivery.retries < len(self._settings.callback_retries):
            delivery.retries += 1
            self._timers.later(self._settings.callback_retries[delivery.retries - 1], lambda: self.send(delivery))
        else:
            self.given_up += 1
            self._send_next(delivery)

    async def _drain(self) -> None:
        while self._waiting:
            await self.deliver(self._waiting.popleft())

    def _send_next(self, delivery: Delivery) -> None:
        if delivery.then is not None:
            self.send(delivery.then)

    async def _post(self, delivery: Delivery) -> bool:
        """Send it and return whether that was final. No answer, 429 and 5xx are not: they are repeated."""
        if self._session is None:
            return False
        try:
            # encoded=True: yarl must not change the URL.
            async with self._session.post(
                URL(delivery.url, encoded=True), data=delivery.body, headers=_HEADERS, allow_redirects=False
            ) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            return False
        if answer.status == 429 or answer.status >= 500:  # noqa: PLR2004
            return False
        self.sent += 1
        if answer.status >= 300:  # noqa: PLR2004
            self.refused += 1
        return True


class Callbacks:
    """Decides which callbacks are sent when a task changes."""

    def __init__(self, settings: Settings, faults: Faults, sender: Sender, timers: Timers) -> None:
        self._echo = settings.echo_external_id
        self._faults = faults
        self._sender = sender
        self._timers = timers
        self._held: set[str] = set()

    def forget(self) -> None:
        """Forget the callbacks that were held back."""
        self._held.clear()

    def started(self, task: Task, now: float) -> None:
        """Send the callback of a task that is in progress."""
        if task.callback_url is None:
            return
        faults = self._faults
        if faults.affects_callbacks and faults.fires("reorder_callbacks", task.subject, task.occasion):
            self._held.add(task.id)
            return
        self._send(task, "start", [self._body(task, Status.IN_PROGRESS, "start", now)])

    def ended(self, task: Task, now: float) -> None:
        """Send the callback of a task that completed or failed."""
        if task.callback_url is not None:
            self._send(task, "end", self._ending(task, now))

    async def ended_early(self, task: Task, now: float) -> None:
        """Send the final callback and return when it was answered. It is never dropped, repeated or late."""
        if task.callback_url is not None:
            await self._sender.deliver(_chain(task.callback_url, self._ending(task, now)))

    def _ending(self, task: Task, now: float) -> list[bytes]:
        final = self._body(task, task.status, "end", now)
        bodies = [final]
        faults = self._faults
        if not faults.affects_callbacks:
            return bodies
        if task.status is Status.COMPLETED:
            if faults.fires("succeed_then_fail", task.subject, task.occasion):
                bodies = [final, self._body(task, Status.FAILED, "lie", now)]
            elif faults.fires("fail_then_succeed", task.subject, task.occasion):
                bodies = [self._body(task, Status.FAILED, "lie", now), final]
        if task.id in self._held:
            self._held.discard(task.id)
            bodies.append(self._body(task, Status.IN_PROGRESS, "start", now))
        return bodies

    def _send(self, task: Task, step: str, bodies: list[bytes]) -> None:
        url = task.callback_url or ""
        faults = self._faults
        if not faults.affects_callbacks:
            self._sender.send(_chain(url, bodies))
            return
        subject, occasion = task.subject, f"{task.occasion}.{step}"
        if faults.fires("forge_callbacks", subject, occasion):
            self._sender.send(self._forgery(url, subject, occasion, task, bodies[0]))
        if faults.fires("drop_callbacks", subject, occasion):
            return
        copies = 1
        if faults.fires("repeat_callbacks", subject, occasion):
            copies += int(faults.number("repeat_times"))
        delay = faults.number("late_by") if faults.fires("late_callbacks", subject, occasion) else 0
        for _ in range(copies):
            delivery = _chain(url, bodies)
            if delay:
                self._timers.later(delay, lambda delivery=delivery: self._sender.send(delivery))  # type: ignore[misc]
            else:
                self._sender.send(delivery)

    def _body(self, task: Task, status: Status, step: str, now: float) -> bytes:
        faults = self._faults
        subject, occasion = task.subject, f"{task.occasion}.{step}"
        shape = faults.choice("callback_shape")
        if shape == "mixed":
            shape = faults.pick("callback_shape", subject, occasion, ("gateway", *payloads.OTHER_SHAPES))
        if shape == "gateway":
            body = payloads.gateway(task, status, now, echo=self._echo)
            if faults.fires("dialect", subject, occasion):
                body = payloads.in_dialect(body, faults, subject, occasion)
        else:
            body = payloads.OTHER_SHAPES[shape](task, status)
            faults.count(f"callback_shape.{shape}")
        if faults.fires("callback_nested", subject, occasion):
            body = {"data": body}
        return json.dumps(body, separators=(",", ":")).encode()

    def _forgery(self, url: str, subject: str, occasion: str, task: Task, body: bytes) -> Delivery:
        path, _, token = url.rpartition("/")
        kind = self._faults.pick("forge_callbacks", subject, occasion, ("token", "job", "letters", "garbage"))
        self._faults.count(f"forge_callbacks.{kind}")
        lie = body.replace(task.base.encode(), b"http://forged.invalid")
        match kind:
            case "token":
                return Delivery(f"{path}/{token[::-1]}x", lie)
            case "job":
                return Delivery(f"{path}-other/{token}", lie)
            case "letters":
                return Delivery(f"{path}/%C3%A9%00{token}", lie)
        return Delivery(url, self._faults.pick("forge_callbacks.garbage", subject, occasion, _GARBAGE))


def _chain(url: str, bodies: Sequence[bytes]) -> Delivery:
    """Make deliveries that send the bodies to one URL, one after the other."""
    last: Delivery | None = None
    for body in reversed(bodies):
        last = Delivery(url, body, then=last)
    if last is None:
        raise ValueError("a chain of callbacks needs at least one body")
    return last
