"""Signs of life: what workers write about themselves, and what everybody reads to know whether the service works."""

from collections.abc import Iterable, Sequence
from typing import Any

from jobs.errors import why_refused
from jobs.liveness import Pulse, Trouble, WorkerState, find_troubles
from jobs.store.context import StoreContext

#: The beginning of the fields of heartbeats that a queue's name follows.
_READS = "reads:"


class Liveness:
    """The verbs for signs of life. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._scripts = context.scripts

    def beat(self, state: WorkerState, queues: Iterable[str] = ()) -> None:
        """Note that a worker runs, and which queues it reads now."""
        self._scripts.call("heartbeat", state, *sorted(queues))

    def pulse(self) -> Pulse:
        """Read the signs of life, in one round trip."""
        return read_pulse(self._scripts.call(PULSE))

    def troubles(self, *, broker_answers: bool | None = None) -> tuple[Trouble, ...]:
        """Return what keeps the service from its work (`jobs.liveness.find_troubles`)."""
        return find_troubles(self.pulse(), broker_answers=broker_answers)


#: The verb whose answer `read_pulse` reads.
PULSE = "pulse"


def read_pulse(answer: Sequence[Any]) -> Pulse:
    """Read the script's answer. What is damaged counts as never."""
    now, round_at, resumed_at, installed, lost, flat, saves_until = answer
    fields = {name: at for name, value in zip(flat[::2], flat[1::2], strict=True) if (at := _seconds(value))}
    refusal = why_refused("lost", lost) if lost else "" if installed else why_refused("new")
    return Pulse(
        now=int(now) / 1e6,
        round_at=_seconds(round_at),
        resumed_at=_seconds(resumed_at),
        first_heartbeat=fields.get("first"),
        read_at={name.removeprefix(_READS): at for name, at in fields.items() if name.startswith(_READS)},
        busy_at=fields.get(WorkerState.BUSY),
        cut_off_at=fields.get(WorkerState.CUT_OFF),
        refusal=refusal,
        saves=(_seconds(saves_until) or 0.0) > int(now) / 1e6,
    )


def _seconds(micros: str) -> float | None:
    """Convert a stored time to seconds since 1970; None where there is none."""
    try:
        return int(micros) / 1e6
    except ValueError:
        return None
