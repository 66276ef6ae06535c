"""The condition of the service: its Redis, its broker, and what keeps it from its work."""

from dataclasses import dataclass

from jobs.errors import StoreUnavailable
from jobs.liveness import Pulse, Trouble, find_troubles
from webhook.services import Services

OK = "ok"


@dataclass(frozen=True, slots=True)
class Condition:
    """`redis`, `broker`: "ok", or what is wrong. `pulse`: None where Redis does not answer."""

    redis: str
    broker: str
    pulse: Pulse | None
    troubles: tuple[Trouble, ...]

    @property
    def ready(self) -> bool:
        """Whether this process can do its own work. A stall does not matter: callbacks and jobs are still accepted."""
        return self.redis == self.broker == OK


def examine(shared: Services) -> Condition:
    """Ask Redis and the broker how they are. Takes a few seconds if one does not answer."""
    broker_answers = shared.ping_broker()
    broker = OK if broker_answers else "down: the broker (BOOMERANG_BROKER_URL) does not answer"
    try:
        shared.store.ping()
        pulse = shared.store.liveness.pulse()
    except StoreUnavailable:
        return Condition("down: Redis (BOOMERANG_REDIS_URL) does not answer", broker, None, ())
    redis = f"refused: {pulse.refusal}" if pulse.refusal else OK
    return Condition(redis, broker, pulse, find_troubles(pulse, broker_answers=broker_answers))
