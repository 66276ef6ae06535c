"""Callbacks: which are due at a change of a task, in what disguise, and the sender that carries them out."""

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
    """Things to do later, all of which can be called off at once."""

    def __init__(self) -> None:
        self._handles: dict[object, asyncio.TimerHandle] = {}

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` after `delay` seconds, unless called off before."""
        ticket = object()

        def ring() -> None:
            del self._handles[ticket]
            action()

        self._handles[ticket] = asyncio.get_running_loop().call_later(delay, ring)

    def call_off(self) -> None:
        """Forget all."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()


@dataclass(slots=True, eq=False)
class Delivery:
    """One callback to carry out; `then` follows when this one has been answered, or given up."""

    url: str
    body: bytes
    then: "Delivery | None" = None
    tries: int = 0


class Sender:
    """Carries callbacks out over a bounded number of kept-alive connections, and tries again a few times."""

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
        """Callbacks not yet taken up."""
        return len(self._waiting)

    async def start(self) -> None:
        """Open the session; wants a running loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=self._settings.callback_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    async def stop(self) -> None:
        """Drop what waits, end what is under way, close the session."""
        self._waiting.clear()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def forget(self) -> None:
        """Drop what waits, and the counts."""
        self._waiting.clear()
        self.sent = self.refused = self.given_up = 0

    def send(self, delivery: Delivery) -> None:
        """Carry it out soon."""
        self._waiting.append(delivery)
        if len(self._busy) < self._settings.callback_connections:
            task = asyncio.get_running_loop().create_task(self._drain())
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)

    async def carry(self, delivery: Delivery) -> None:
        """Carry it out now; what fails is tried again later, and this does not wait for it."""
        if await self._post(delivery):
            self._follow(delivery)
        elif delivery.tries < len(self._settings.callback_retries):
            delivery.tries += 1
            self._timers.later(self._settings.callback_retries[delivery.tries - 1], lambda: self.send(delivery))
        else:
            self.given_up += 1
            self._follow(delivery)

    async def _drain(self) -> None:
        while self._waiting:
            await self.carry(self._waiting.popleft())

    def _follow(self, delivery: Delivery) -> None:
        if delivery.then is not None:
            self.send(delivery.then)

    async def _post(self, delivery: Delivery) -> bool:
        """Whether the receiver has answered for good; it is asked again after no answer, 429 and 5xx."""
        if self._session is None:
            return False
        try:
            # encoded: the address goes out letter by letter as it was given.
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
    """Decides what goes out when a task changes."""

    def __init__(self, settings: Settings, faults: Faults, sender: Sender, timers: Timers) -> None:
        self._echo = settings.echo_external_id
        self._faults = faults
        self._sender = sender
        self._timers = timers
        self._held: set[str] = set()

    def forget(self) -> None:
        """Drop what was held back."""
        self._held.clear()

    def started(self, task: Task, now: float) -> None:
        """The task is in progress."""
        if task.callback_url is None:
            return
        faults = self._faults
        if faults.troubles_callbacks and faults.fires("reorder_callbacks", task.who, task.occasion):
            self._held.add(task.id)
            return
        self._send(task, "start", [self._body(task, Status.IN_PROGRESS, "start", now)])

    def ended(self, task: Task, now: float) -> None:
        """The task is completed or failed."""
        if task.callback_url is not None:
            self._send(task, "end", self._ending(task, now))

    async def ended_early(self, task: Task, now: float) -> None:
        """As `ended`, and returns when the receiver has answered; never dropped, repeated or late."""
        if task.callback_url is not None:
            await self._sender.carry(_chain(task.callback_url, self._ending(task, now)))

    def _ending(self, task: Task, now: float) -> list[bytes]:
        truth = self._body(task, task.status, "end", now)
        bodies = [truth]
        faults = self._faults
        if not faults.troubles_callbacks:
            return bodies
        if task.status is Status.COMPLETED:
            if faults.fires("succeed_then_fail", task.who, task.occasion):
                bodies = [truth, self._body(task, Status.FAILED, "lie", now)]
            elif faults.fires("fail_then_succeed", task.who, task.occasion):
                bodies = [self._body(task, Status.FAILED, "lie", now), truth]
        if task.id in self._held:
            self._held.discard(task.id)
            bodies.append(self._body(task, Status.IN_PROGRESS, "start", now))
        return bodies

    def _send(self, task: Task, step: str, bodies: list[bytes]) -> None:
        url = task.callback_url or ""
        faults = self._faults
        if not faults.troubles_callbacks:
            self._sender.send(_chain(url, bodies))
            return
        who, occasion = task.who, f"{task.occasion}.{step}"
        if faults.fires("forge_callbacks", who, occasion):
            self._sender.send(self._forgery(url, who, occasion, task, bodies[0]))
        if faults.fires("drop_callbacks", who, occasion):
            return
        copies = 1
        if faults.fires("repeat_callbacks", who, occasion):
            copies += int(faults.number("repeat_times"))
        delay = faults.number("late_by") if faults.fires("late_callbacks", who, occasion) else 0
        for _ in range(copies):
            delivery = _chain(url, bodies)
            if delay:
                self._timers.later(delay, lambda delivery=delivery: self._sender.send(delivery))  # type: ignore[misc]
            else:
                self._sender.send(delivery)

    def _body(self, task: Task, status: Status, step: str, now: float) -> bytes:
        faults = self._faults
        who, occasion = task.who, f"{task.occasion}.{step}"
        shape = faults.word("callback_shape")
        if shape == "mixed":
            shape = faults.pick("callback_shape", who, occasion, ("gateway", *payloads.FOREIGN))
        if shape == "gateway":
            body = payloads.gateway(task, status, now, echo=self._echo)
            if faults.fires("dialect", who, occasion):
                body = payloads.in_dialect(body, faults, who, occasion)
        else:
            body = payloads.FOREIGN[shape](task, status)
            faults.count(f"callback_shape.{shape}")
        if faults.fires("callback_nested", who, occasion):
            body = {"data": body}
        return json.dumps(body, separators=(",", ":")).encode()

    def _forgery(self, url: str, who: str, occasion: str, task: Task, body: bytes) -> Delivery:
        path, _, token = url.rpartition("/")
        kind = self._faults.pick("forge_callbacks", who, occasion, ("token", "job", "letters", "garbage"))
        self._faults.count(f"forge_callbacks.{kind}")
        lie = body.replace(task.base.encode(), b"http://forged.invalid")
        match kind:
            case "token":
                return Delivery(f"{path}/{token[::-1]}x", lie)
            case "job":
                return Delivery(f"{path}-other/{token}", lie)
            case "letters":
                return Delivery(f"{path}/%C3%A9%00{token}", lie)
        return Delivery(url, self._faults.pick("forge_callbacks.garbage", who, occasion, _GARBAGE))


def _chain(url: str, bodies: Sequence[bytes]) -> Delivery:
    """The bodies one after the other to one address."""
    last: Delivery | None = None
    for body in reversed(bodies):
        last = Delivery(url, body, then=last)
    if last is None:
        raise ValueError("nothing to send")
    return last
