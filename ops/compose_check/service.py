"""Use the service and the simulated provider as a producer on the host does."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import Any

import requests

from jobs.producer_ids import given_id
from ops.compose_check.shell import wait_until

JOBS = 300
#: Seconds
_ANSWER = 15
#: An address of the documentation's: what a proxy on the host would say that it serves.
CLIENT = "203.0.113.9"


@dataclass(kw_only=True)
class Service:
    """Batches of 300 jobs, and the purchases for them at the provider."""

    url: str
    simulator: str
    key: str = field(repr=False)
    prefix: str
    batches: list[str] = field(default_factory=list)
    #: external id → purchases that a simulator had reported before it ended: it keeps them in memory
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "X-Forwarded-For": CLIENT}

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", headers=self._headers, timeout=_ANSWER, **options)

    def post(self, path: str, data: str | None = None, **options: Any) -> requests.Response:
        headers = self._headers | {"Content-Type": "application/x-ndjson"}
        return requests.post(f"{self.url}{path}", data=data, headers=headers, timeout=60, **options)

    def ids(self, batch: str) -> Iterator[str]:
        """Return the external ids of the jobs of a batch."""
        return (f"{self.prefix}-{batch}-{number}" for number in range(JOBS))

    def enqueue(self, batch: str) -> None:
        """Enqueue 300 jobs. Raises OSError if not all are accepted."""
        self._send(batch, JOBS)
        self.batches.append(batch)

    def enqueue_paused(self, batch: str) -> None:
        """Enqueue 300 jobs into a batch that is paused once it has its first one."""
        self._send(batch, 1)
        self.post(f"/v1/batches/{batch}/pause").raise_for_status()
        self.enqueue(batch)

    def _send(self, batch: str, jobs: int) -> None:
        lines = [
            json.dumps({"model": "kirin_image_omni", "prompt": name, "external_task_id": name})
            for name in islice(self.ids(batch), jobs)
        ]
        self.post(f"/v1/batches?id={batch}", "\n".join(lines)).raise_for_status()

    def counts(self, batch: str) -> Mapping[str, int]:
        """Return the number of jobs of a batch by state. Raises OSError."""
        answer = self.get(f"/v1/batches/{batch}")
        answer.raise_for_status()
        found: Mapping[str, int] = answer.json()["counts"]
        return found

    def completed(self, batch: str) -> int | None:
        """Return the number of completed jobs; None while the batch is not done, or the service cannot be reached."""
        try:
            answer = self.get(f"/v1/batches/{batch}")
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return 0
            shown = answer.json()
        except (OSError, ValueError):
            return None
        return int(shown["counts"]["completed"]) if shown.get("done") else None

    def wait_completed(self, batch: str, limit: float) -> tuple[int | None, float]:
        """Wait until a batch is done. Returns the number of completed jobs, and the seconds it took."""
        took = wait_until(lambda: self.completed(batch) is not None, limit)
        return self.completed(batch), limit if took is None else took

    def wait_under_way(self, batch: str, jobs: int = 20, limit: float = 150) -> bool:
        """Wait until some jobs were sent. After a restart of Redis this takes BOOMERANG_SUBMIT_LEASE."""
        mine = set(self.ids(batch))
        return wait_until(lambda: len(mine & set(self.bought())) >= jobs, limit, pause=0.1) is not None

    def results(self, batch: str) -> list[dict[str, Any]]:
        """Return the jobs of a batch with their results."""
        return [json.loads(line) for line in self.get(f"/v1/batches/{batch}/results").text.splitlines() if line]

    def faults(self, **faults: Any) -> None:
        """Set the faults of the simulated provider."""
        requests.put(f"{self.simulator}/_sim/faults", json=faults, timeout=_ANSWER).raise_for_status()

    def bought(self) -> Counter[str]:
        """Return how often each external id, without the producer's name, was bought since the simulator started."""
        ledger = requests.get(f"{self.simulator}/_sim/ledger", timeout=_ANSWER).json()
        return Counter(given_id(each["external_task_id"]) for each in ledger["purchases"])

    def keep_purchases(self) -> None:
        """Remember the purchases, because the simulator is about to end."""
        self.kept += self.bought()

    def purchases(self) -> str:
        """Return how many jobs were bought, how many twice, and how many purchases belong to no batch."""
        every = self.kept + self.bought()
        wanted = {name for batch in self.batches for name in self.ids(batch)}
        twice = sum(count > 1 for count in every.values())
        return f"{len(wanted & set(every))} of {len(wanted)} bought, {twice} twice, {len(set(every) - wanted)} unknown"

    def all_bought_once(self) -> str:
        """Return the result that `purchases` should have."""
        return f"{len(self.batches) * JOBS} of {len(self.batches) * JOBS} bought, 0 twice, 0 unknown"
