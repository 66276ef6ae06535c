"""The provider behind the HTTP API: accepts orders, runs tasks and bills them."""

import asyncio
import hashlib
import time
from collections import Counter, deque

from ops.simulator.callbacks import Callbacks, Sender, Timers
from ops.simulator.draw import ImageSpec, size_of
from ops.simulator.faults import Faults
from ops.simulator.images import ReferenceImages
from ops.simulator.ledger import Ledger, Purchase, cost_of
from ops.simulator.settings import Settings
from ops.simulator.tasks import Failure, Status, Task, Tasks
from ops.simulator.validate import Order

_RETRYABLE = (
    Failure("002016095", "Internal generation error"),
    Failure("002016096", "Result parsing error"),
    Failure("002016097", "HTTP error response"),
    Failure("002016098", "Status check error"),
    Failure("002016099", "Task creation error"),
)
_PERMANENT = Failure("1301", "The content was refused by the platform's content safety policy")
#: Seconds between two searches for expired results.
_SWEEP = 0.25


class Provider:
    """One simulated provider, from its start-up settings to its ledger."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = Faults(settings.seed, settings.faults)
        self.tasks = Tasks()
        self.references_by_digest = ReferenceImages()
        self.ledger = Ledger(settings.ledger_file)
        self.timers = Timers()
        self.sender = Sender(settings, self.timers)
        self.callbacks = Callbacks(settings, self.faults, self.sender, self.timers)
        self.calls: Counter[str] = Counter()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lookups: Counter[str] = Counter()
        self._bases: dict[str, str] = {}
        self._anonymous = 0
        self._outages = 0
        self._ended: deque[tuple[float, Task]] = deque()

    def start(self) -> None:
        """Start the timers that delete old results and end an outage. Needs a running event loop."""
        if self.settings.keep:
            self._sweep()
        if self.faults.choice("outage") != "off":
            self.end_outage_in(self.faults.number("outage_seconds"))

    def end_outage_in(self, seconds: float) -> None:
        """End the current outage after this many seconds (0: never). Replaces an earlier end."""
        self._outages += 1
        ordinal = self._outages

        def end() -> None:
            if ordinal == self._outages:
                self.faults.update({"outage": "off"})

        if seconds:
            self.timers.later(seconds, end)

    def reset(self) -> None:
        """Forget all tasks, purchases, counts and timers, and restore the faults of the start."""
        self.timers.cancel_all()
        self.sender.forget()
        self.callbacks.forget()
        self.tasks = Tasks()
        self.references_by_digest.clear()
        self.ledger.reset()
        self.faults.restore()
        self.faults.fired.clear()
        self.calls.clear()
        self._seen.clear()
        self._lookups.clear()
        self._anonymous = 0
        self._ended.clear()
        self.start()

    def now(self) -> float:
        """Return the event loop's time in seconds."""
        return asyncio.get_running_loop().time()

    def base(self, host: str) -> str:
        """Return the base URL of result images for callers of `host`: one shared string for all its tasks."""
        return self.settings.public_url or self._bases.setdefault(host, f"http://{host}")

    def count_lookup(self, name: str) -> int:
        """Count a look-up of this id and return how many there were. Called only while look-ups can fail."""
        self._lookups[name] += 1
        return self._lookups[name]

    def next_occasion(self, key: str, order: Order) -> tuple[str, str]:
        """Return (subject, occasion) of this submission: its external id and how often the key has sent it."""
        if order.external_id is None:
            self._anonymous += 1
            return f"#{self._anonymous}", "1"
        self._seen[key, order.external_id] += 1
        return order.external_id, str(self._seen[key, order.external_id])

    def is_duplicate(self, key: str, order: Order) -> bool:
        """Return whether this key has used the external id before and the provider notices it."""
        if order.external_id is None or not self.tasks.is_used(key, order.external_id):
            return False
        if self.faults.choice("duplicates") == "unnoticed":
            self.faults.count("duplicates.unnoticed")
            return False
        return True

    def exceeds_slots(self, key: str, order: Order) -> bool:
        """Return whether the order would exceed the slots of this key."""
        slots = self.faults.number("slots")
        return bool(slots) and self.tasks.accounts[key].in_flight + order.n > slots

    def create(self, order: Order, key: str, base: str, occasion: tuple[str, str], *, at_once: bool = False) -> Task:
        """Create a task. With `at_once`, or a latency of 0, it has ended and sends only the final callback."""
        subject, count = occasion
        now = self.now()
        name = f"{self.settings.seed}:{key}:{subject}:{count}".encode("utf-8", "surrogatepass")
        task_id = hashlib.blake2b(name, digest_size=10).hexdigest()
        cost = cost_of(order.model, order.resolution, order.n)
        purchase = Purchase(order.external_id, task_id, order.model, order.n, cost, time.time())
        duration = 0.0 if at_once else self.faults.latency_of(subject, count)
        task = Task(task_id, key, count, purchase, self._image_spec(order), order.callback_url, base, now, duration)
        self.tasks.add(task)
        self.ledger.created(purchase)
        if at_once:
            self._end(task)
        elif duration:
            self.callbacks.started(task, now)
            self.timers.later(duration, lambda: self._end_and_call_back(task))
        else:
            self._end_and_call_back(task)
        return task

    async def create_early(self, order: Order, key: str, base: str, occasion: tuple[str, str]) -> Task:
        """Create a task, end it, and return when its final callback has been answered."""
        task = self.create(order, key, base, occasion, at_once=True)
        await self.callbacks.ended_early(task, self.now())
        return task

    def create_later(self, seconds: float, order: Order, key: str, base: str, occasion: tuple[str, str]) -> None:
        """Create the task after this many seconds, even if the caller has gone."""

        def appear() -> None:
            if self.is_duplicate(key, order):
                self.faults.count("ghost.refused")
            else:
                self.faults.count("ghost.created")
                self.create(order, key, base, occasion)

        self.timers.later(seconds, appear)

    def find(self, key: str, name: str) -> Task | None:
        """Find a task of this key by its id or external id, if it is visible yet."""
        now = self.now()
        task = self.tasks.get(name)
        if task is not None and task.key == key:
            return self._visible(task, "status_lag", now)
        for task in self.tasks.by_external(key, name):
            if self._visible(task, "lookup_lag", now):
                return task
        return None

    def _visible(self, task: Task, lag: str, now: float) -> Task | None:
        if now - task.created >= self.faults.number(lag):
            return task
        self.faults.count(lag)
        return None

    def _image_spec(self, order: Order) -> ImageSpec:
        size = next((reference.size for reference in order.references if reference.size), None)
        width, height = size_of(order.aspect_ratio, order.resolution, size)
        references = tuple(
            reference.url if reference.content is None else self.references_by_digest.put(reference.content)
            for reference in order.references
        )
        return ImageSpec(order.prompt, width, height, order.watermark, tuple(r for r in references if r))

    def _end_and_call_back(self, task: Task) -> None:
        self._end(task)
        self.callbacks.ended(task, self.now())

    def _end(self, task: Task) -> None:
        faults = self.faults
        if faults.fires("fail", task.subject, task.occasion):
            task.failure = faults.pick("fail", task.subject, task.occasion, _RETRYABLE)
        elif faults.fires("fail_permanent", task.subject, task.occasion):
            task.failure = _PERMANENT
        self.tasks.end(task, Status.FAILED if task.failure else Status.COMPLETED, self.now())
        if not task.failure or faults.fires("bill_failures", task.subject, task.occasion):
            self.ledger.bill(task.purchase)
        if self.settings.keep:
            self._ended.append((self.now() + self.settings.keep, task))

    def has_expired(self, task: Task) -> bool:
        """Return whether the images of an ended task are deleted. Its status is still there."""
        life = self.faults.number("expire_images")
        return life > 0 and task.ended is not None and self.now() >= task.ended + life

    def _sweep(self) -> None:
        now = self.now()
        while self._ended and self._ended[0][0] <= now:
            self.tasks.delete(self._ended.popleft()[1])
        self.timers.later(_SWEEP, self._sweep)
