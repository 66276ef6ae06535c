"""What the log says about costs that are not as usual."""

import logging

from jobs.result import Result
from jobs.store.prices import MOST_PRICE

log = logging.getLogger(__name__)


class CostLog:
    """Logs recorded costs that are unreadable, rounded or implausible.

    A provider may send each price with more digits than are kept. So the first rounding is a warning, and each further
    one an info.
    """

    def __init__(self) -> None:
        self._rounded = False

    def note(self, external_task_id: str, result: Result) -> None:
        """Log what is unusual about the cost of a result that was recorded."""
        cost = None if result.cost is None else f"{result.cost:f}"
        if result.unreadable_cost is not None:
            log.warning("job %s: the cost %r is not an amount in USD", external_task_id, result.unreadable_cost)
        elif result.rounded_cost is not None:
            level = logging.INFO if self._rounded else logging.WARNING
            self._rounded = True
            log.log(level, "job %s: the cost %s is rounded to %s USD", external_task_id, result.rounded_cost, cost)
        if result.cost is not None and result.cost > MOST_PRICE:
            log.warning(
                "job %s: the cost of %s USD is implausible: it counts as spent, but does not change the expected cost",
                external_task_id,
                cost,
            )
