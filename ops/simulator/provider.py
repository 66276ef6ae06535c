"""The provider itself: takes orders, runs tasks, bills them. Knows nothing of HTTP."""

import asyncio
import hashlib
import time
from collections import Counter, deque

from ops.simulator.callbacks import Callbacks, Sender, Timers
from ops.simulator.draw import Picture, size_of
from ops.simulator.faults import Faults
from ops.simulator.images import Vault
from ops.simulator.ledger import Ledger, Purchase, cost_of
from ops.simulator.settings import Settings
from ops.simulator.tasks import Failure, Status, Task, Tasks
from ops.simulator.validate import Order

_CURABLE = (
    Failure("002016095", "Internal generation error"),
    Failure("002016096", "Result parsing error"),
    Failure("002016097", "HTTP error response"),
    Failure("002016098", "Status check error"),
    Failure("002016099", "Task creation error"),
)
_PERMANENT = Failure("1301", "The content was refused by the platform's content safety policy")
#: how often expired results are looked for, in seconds
_SWEEP = 0.25


class Provider:
    """One simulated provider, from its start-up settings to its ledger."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.faults = Faults(settings.seed, settings.faults)
        self.tasks = Tasks()
        self.vault = Vault()
        self.ledger = Ledger(settings.ledger_file)
        self.timers = Timers()
        self.sender = Sender(settings, self.timers)
        self.callbacks = Callbacks(settings, self.faults, self.sender, self.timers)
        self.calls: Counter[str] = Counter()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._looks: Counter[str] = Counter()
        self._bases: dict[str, str] = {}
        self._anonymous = 0
        self._outages = 0
        self._ended: deque[tuple[float, Task]] = deque()

    def start(self) -> None:
        """Begin to delete old results, and to wait for the end of an outage, if there is one; wants a running loop."""
        if self.settings.keep:
            self._sweep()
        if self.faults.word("outage") != "off":
            self.end_outage_in(self.faults.number("outage_seconds"))

    def end_outage_in(self, seconds: float) -> None:
        """The present outage ends by itself after that long; 0: it does not. Takes the place of an earlier end."""
        self._outages += 1
        ordinal = self._outages

        def end() -> None:
            if ordinal == self._outages:
                self.faults.update({"outage": "off"})

        if seconds:
            self.timers.later(seconds, end)

    def reset(self) -> None:
        """As new: no task, no purchase, no count, nothing pending, the faults those of the start."""
        self.timers.call_off()
        self.sender.forget()
        self.callbacks.forget()
        self.tasks = Tasks()
        self.vault.clear()
        self.ledger.reset()
        self.faults.restore()
        self.faults.fired.clear()
        self.calls.clear()
        self._seen.clear()
        self._looks.clear()
        self._anonymous = 0
        self._ended.clear()
        self.start()

    def now(self) -> float:
        """The event loop's time, in seconds."""
        return asyncio.get_running_loop().time()

    def base(self, host: str) -> str:
        """The address under which a caller reaches the pictures; one string for all tasks of one host."""
        return self.settings.public_url or self._bases.setdefault(host, f"http://{host}")

    def looks(self, name: str) -> int:
        """Which look at this id this is; counted only while looks can fail."""
        self._looks[name] += 1
        return self._looks[name]

    def occasion(self, key: str, order: Order) -> tuple[str, str]:
        """Who is asking (external id) and for which time: what decisions about this submission hang on."""
        if order.external_id is None:
            self._anonymous += 1
            return f"#{self._anonymous}", "1"
        self._seen[key, order.external_id] += 1
        return order.external_id, str(self._seen[key, order.external_id])

    def taken(self, key: str, order: Order) -> bool:
        """Whether the external id has been used and the provider notices."""
        if order.external_id is None or not self.tasks.known(key, order.external_id):
            return False
        if self.faults.word("duplicates") == "unnoticed":
            self.faults.count("duplicates.unnoticed")
            return False
        return True

    def crowded(self, key: str, order: Order) -> bool:
        """Whether the order would exceed the slots of that key."""
        slots = self.faults.number("slots")
        return bool(slots) and self.tasks.accounts[key].in_flight + order.n > slots

    def create(self, order: Order, key: str, base: str, occasion: tuple[str, str], *, at_once: bool = False) -> Task:
        """A new task, running; with `at_once`, or a latency of 0, already ended (and then only its end calls back)."""
        who, count = occasion
        now = self.now()
        name = f"{self.settings.seed}:{key}:{who}:{count}".encode("utf-8", "surrogatepass")
        task_id = hashlib.blake2b(name, digest_size=10).hexdigest()
        cost = cost_of(order.model, order.resolution, order.n)
        purchase = Purchase(order.external_id, task_id, order.model, order.n, cost, time.time())
        duration = 0.0 if at_once else self.faults.latency_of(who, count)
        task = Task(task_id, key, count, purchase, self._picture(order), order.callback_url, base, now, duration)
        self.tasks.add(task)
        self.ledger.created(purchase)
        if at_once:
            self._end(task)
        elif duration:
            self.callbacks.started(task, now)
            self.timers.later(duration, lambda: self._end_and_tell(task))
        else:
            self._end_and_tell(task)
        return task

    async def create_early(self, order: Order, key: str, base: str, occasion: tuple[str, str]) -> Task:
        """A task that has ended, and whose final callback has been answered, when this returns."""
        task = self.create(order, key, base, occasion, at_once=True)
        await self.callbacks.ended_early(task, self.now())
        return task

    def haunt(self, seconds: float, order: Order, key: str, base: str, occasion: tuple[str, str]) -> None:
        """Take the order that many seconds from now, whoever may still be waiting for an answer."""

        def appear() -> None:
            if self.taken(key, order):
                self.faults.count("ghost.refused")
            else:
                self.faults.count("ghost.created")
                self.create(order, key, base, occasion)

        self.timers.later(seconds, appear)

    def find(self, key: str, name: str) -> Task | None:
        """A key's own task by its id or external id, so far as it is visible yet."""
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

    def _picture(self, order: Order) -> Picture:
        size = next((reference.size for reference in order.references if reference.size), None)
        width, height = size_of(order.aspect_ratio, order.resolution, size)
        references = tuple(
            reference.url if reference.content is None else self.vault.put(reference.content)
            for reference in order.references
        )
        return Picture(order.prompt, width, height, order.watermark, tuple(r for r in references if r))

    def _end_and_tell(self, task: Task) -> None:
        self._end(task)
        self.callbacks.ended(task, self.now())

    def _end(self, task: Task) -> None:
        faults = self.faults
        if faults.fires("fail", task.who, task.occasion):
            task.failure = faults.pick("fail", task.who, task.occasion, _CURABLE)
        elif faults.fires("fail_permanent", task.who, task.occasion):
            task.failure = _PERMANENT
        self.tasks.end(task, Status.FAILED if task.failure else Status.COMPLETED)
        if not task.failure or faults.fires("bill_failures", task.who, task.occasion):
            self.ledger.bill(task.purchase)
        if self.settings.keep:
            self._ended.append((self.now() + self.settings.keep, task))

    def _sweep(self) -> None:
        now = self.now()
        while self._ended and self._ended[0][0] <= now:
            self.tasks.delete(self._ended.popleft()[1])
        self.timers.later(_SWEEP, self._sweep)
