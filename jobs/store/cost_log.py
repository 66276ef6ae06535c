"""What the log says about costs that are not as usual."""

import logging

from jobs.job import Result
from jobs.store.prices import MOST_PRICE

log = logging.getLogger(__name__)


def log_cost(external_task_id: str, result: Result) -> None:
    """Log a recorded cost that is unreadable, was rounded, or is implausible."""
    if result.unreadable_cost is not None:
        log.warning("job %s: the provider's cost %r is not an amount in USD", external_task_id, result.unreadable_cost)
    elif result.rounded_cost is not None:
        log.info("job %s: the cost %s is rounded to %s USD", external_task_id, result.rounded_cost, f"{result.cost:f}")
    if result.cost is not None and result.cost > MOST_PRICE:
        log.warning(
            "job %s: the cost of %s USD is implausible: it is counted as spent, but does not change the expected cost",
            external_task_id,
            f"{result.cost:f}",
        )
