"""What an honest producer notices while others attack: when its jobs begin, and how soon callbacks are answered."""

import http.client
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from ops.bench.deliveries import Receiver
from schemas import callback_path

PRESS = "press"
#: Seconds between two jobs, and between two callbacks.
JOBS_EVERY, CALLBACKS_EVERY = 2.0, 0.1
#: Seconds after a fault in which its consequences are not counted as those of an attack: holds, breakers, restarts.
RECOVERY = 5.0


@dataclass
class Weather:
    """When faults were caused: (from, until), by `time.time()`."""

    faults: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def fault(self) -> Iterator[None]:
        """Note that the block causes a fault."""
        began = time.time()
        # Until the block ends, nobody knows when that is.
        self.faults.append((began, float("inf")))
        yield
        self.faults[-1] = (began, time.time())

    def is_quiet(self, begin: float, end: float) -> bool:
        """Return whether nothing from `begin` to `end` is the consequence of a fault."""
        return not any(first <= end and begin <= last + RECOVERY for first, last in self.faults)


@dataclass(frozen=True)
class Spread:
    """Seconds of one kind: of all samples, and of those that no fault concerns."""

    everything: Sequence[float]
    quiet: Sequence[float]

    def text(self) -> str:
        """Return the quantiles as text."""

        def quantiles(values: Sequence[float]) -> str:
            if len(values) < 2:
                return f"{len(values)} samples"
            p50, p99 = percentile(values, 50), percentile(values, 99)
            return f"{len(values)} samples, p50 {p50:.3f} s, p99 {p99:.3f} s, at most {max(values):.3f} s"

        return f"{quantiles(self.quiet)}; with faults: {quantiles(self.everything)}"


NOTHING = Spread((), ())


def percentile(values: Sequence[float], which: int) -> float:
    """Return a percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[which - 1]


class Measured:
    """A producer that enqueues a job now and then, and a provider that sends callbacks, each in a thread.

    `refused`: callbacks and jobs that were not accepted, for instance because Redis was down.
    """

    def __init__(self, url: str, key: str, callback_secret: str) -> None:
        self.receiver = Receiver()
        self.refused = {"jobs": 0, "callbacks": 0}
        self._url, self._key, self._secret = url, key, callback_secret
        self._accepted: dict[str, float] = {}
        self._callbacks: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._enqueue, self._call_back)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.receiver.close()

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _enqueue(self) -> None:
        number = 0
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {self._key}"
            while not self._over.wait(JOBS_EVERY):
                number += 1
                name = f"press-{number}"
                body = {"model": "kirin_image_omni", "prompt": name, "external_task_id": name}
                try:
                    answer = session.post(
                        f"{self._url}/v1/jobs", json={**body, "callback_url": self.receiver.url}, timeout=20
                    )
                    answer.raise_for_status()
                except requests.RequestException:
                    self.refused["jobs"] += 1
                else:
                    self._accepted[name] = time.time()

    def _call_back(self) -> None:
        address = urlsplit(self._url)
        path = callback_path("callback-of-no-job", self._secret)
        while not self._over.wait(CALLBACKS_EVERY):
            began = time.time()
            with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)) as connection:
                status = 0
                with suppress(OSError, http.client.HTTPException):
                    connection.request("POST", path, b'{"id": "t", "status": "running"}')
                    status = connection.getresponse().status
            if status == HTTPStatus.NO_CONTENT:
                self._callbacks.append((began, time.time()))
            else:
                self.refused["callbacks"] += 1

    def callbacks(self, weather: Weather) -> Spread:
        """Return the seconds until callbacks were answered."""
        return _spread(self._callbacks, weather)

    def start_delays(self, weather: Weather, purchases: Sequence[dict[str, Any]]) -> Spread:
        """Return the seconds from the acceptance of a job to its first task at the provider, by its ledger."""
        began: dict[str, float] = {}
        for each in purchases:
            given, _, owner = each["external_task_id"].partition("@")
            if owner == PRESS:
                began.setdefault(given, datetime.fromisoformat(each["at"]).timestamp())
        return _spread([(self._accepted[name], began[name]) for name in self._accepted if name in began], weather)

    @property
    def not_notified(self) -> set[str]:
        """The accepted jobs whose notification has not arrived: they have not ended, or it is lost."""
        return self._accepted.keys() - self.receiver.received.keys()


def _spread(times: Sequence[tuple[float, float]], weather: Weather) -> Spread:
    quiet = [end - begin for begin, end in times if weather.is_quiet(begin, end)]
    return Spread([end - begin for begin, end in times], quiet)
