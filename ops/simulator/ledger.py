"""The ledger: one purchase per created task, in memory and optionally in a file."""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from ops.simulator.validate import OMNI, REFERENCE2IMAGE

PRICE = Decimal("0.0065")
#: (model, resolution) → cost of an image, as a multiple of PRICE.
FACTORS = {(REFERENCE2IMAGE, "1k"): 1, (OMNI, "1k"): 2, (OMNI, "2k"): 4}


def cost_of(model: str, resolution: str, n: int) -> Decimal:
    """Return the cost of a completed task in USD."""
    return PRICE * n * FACTORS[model, resolution]


@dataclass(slots=True)
class Purchase:
    """A created task. `billed` becomes true when it completes (or fails, with `bill_failures`)."""

    external_task_id: str | None
    task_id: str
    model: str
    n: int
    cost: Decimal
    at: float
    billed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Serialize for the control API and the file: the cost as a string, the time as ISO 8601 UTC."""
        return {
            "external_task_id": self.external_task_id,
            "task_id": self.task_id,
            "model": self.model,
            "n": self.n,
            "cost": str(self.cost),
            "at": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            "billed": self.billed,
        }


class Ledger:
    """All purchases and their running totals."""

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Line-buffered: a purchase is in the file even if the simulator is killed afterwards.
            self._file = path.open("a", buffering=1, encoding="utf-8")
        self._clear()

    def _clear(self) -> None:
        self.purchases: list[Purchase] = []
        self.spent = Decimal(0)
        self.billed = 0
        self._created: Counter[str] = Counter()
        self._twice: dict[str, None] = {}

    def created(self, purchase: Purchase) -> None:
        """Record the purchase of a created task."""
        self.purchases.append(purchase)
        if purchase.external_task_id is not None:
            self._created[purchase.external_task_id] += 1
            if self._created[purchase.external_task_id] > 1:
                self._twice[purchase.external_task_id] = None
        if self._file is not None:
            self._write({"event": "created", **purchase.to_json()})

    def bill(self, purchase: Purchase) -> None:
        """Record that the task ended in a way that costs money."""
        purchase.billed = True
        self.billed += 1
        self.spent += purchase.cost
        if self._file is not None:
            self._write({"event": "billed", "task_id": purchase.task_id, "cost": str(purchase.cost)})

    def to_json(self, *, purchases: bool = True) -> dict[str, Any]:
        """Return totals, the external ids with more than one task, and optionally all purchases in order."""
        body: dict[str, Any] = {
            "totals": {
                "tasks": len(self.purchases),
                "bought": self.billed,
                "bought_twice": len(self._twice),
                "spent": str(self.spent),
            },
            "bought_twice": list(self._twice),
        }
        if purchases:
            body["purchases"] = [purchase.to_json() for purchase in self.purchases]
        return body

    def reset(self) -> None:
        """Forget all purchases. The file keeps its lines and gets a line for the reset."""
        self._clear()
        if self._file is not None:
            self._write({"event": "reset"})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
