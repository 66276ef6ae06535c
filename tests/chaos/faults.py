"""Faults by name, and schedules of them: one seed is one schedule."""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.harness import WIRES, Chaos
from tests.chaos.poison import EMPTY, POISON, QUEUES, RECONCILE, SUBMIT, message
from tests.chaos.servers import REFUSALS, SERVERS, close_clients, server_of

#: Seconds. Longer than the lease of a submission (`tests.support.verdict.SETTINGS`).
BEYOND_LEASE = 13.0
#: Seconds. The shortest and longest duration of a temporary fault.
SHORT, LONG = 2.0, 6.0

Fault = Callable[[Chaos, random.Random], None]


@dataclass(frozen=True)
class Step:
    """A fault after a pause of `after` seconds. `seed` decides its details."""

    after: float
    fault: str
    seed: int


def schedule(
    seed: int, *, rounds: int = 1, most: int | None = None, pause: tuple[float, float] = (0.2, 3.0)
) -> list[Step]:
    """Return a schedule of `rounds` rounds of all faults in random order, `most` steps at most, with pauses."""
    draw = random.Random(seed)
    steps = [
        Step(round(draw.uniform(*pause), 1), fault, draw.randrange(1_000_000))
        for _ in range(rounds)
        for fault in draw.sample(sorted(FAULTS), len(FAULTS))
    ]
    return steps[:most]


def cause_fault(running: Chaos, step: Step) -> None:
    """Cause the step's fault, and end it if it is temporary."""
    FAULTS[step.fault](running, random.Random(step.seed))


# --- processes ------------------------------------------------------------------------------------------------------


def _killed(running: Chaos, draw: random.Random) -> None:
    running.kill(draw.choice(("worker", "webhook", "beat")))


def _ended(running: Chaos, draw: random.Random) -> None:
    running.end(draw.choice(("worker", "webhook", "beat")))


def _server_killed(running: Chaos, draw: random.Random) -> None:
    running.kill(draw.choice(SERVERS))


def _asleep_beyond_the_lease(running: Chaos, _: random.Random) -> None:
    """Suspend a worker beyond its lease while another one works."""
    with running.stopped("worker"), running.another("worker"):
        time.sleep(BEYOND_LEASE)


def _asleep(running: Chaos, draw: random.Random) -> None:
    with running.stopped(draw.choice(("webhook", "beat", *SERVERS))):
        time.sleep(draw.uniform(SHORT, LONG))


def _two_beats(running: Chaos, draw: random.Random) -> None:
    with running.another("beat"):
        time.sleep(draw.uniform(SHORT, LONG))


def _clock(running: Chaos, draw: random.Random) -> None:
    clock = Path(running.environments["worker"]["CHAOS_CLOCK"])
    clock.write_text(str(draw.choice((-3600, 3600))), "utf-8")
    time.sleep(draw.uniform(SHORT, LONG))
    clock.write_text("0", "utf-8")


# --- the network ----------------------------------------------------------------------------------------------------


def _cut(running: Chaos, draw: random.Random) -> None:
    running.wires[draw.choice(sorted(WIRES))].cut()


def _swallow(running: Chaos, draw: random.Random) -> None:
    running.wires[draw.choice(sorted(WIRES))].weather.swallow += draw.randint(1, 5)


def _silent(running: Chaos, draw: random.Random) -> None:
    proxy = running.wires[draw.choice(sorted(WIRES))]
    proxy.weather.silent = True
    time.sleep(draw.uniform(SHORT, LONG))
    proxy.clear()


def _slow(running: Chaos, draw: random.Random) -> None:
    proxy = running.wires[draw.choice(sorted(WIRES))]
    proxy.weather.delay = draw.uniform(0.05, 0.3)
    time.sleep(draw.uniform(SHORT, LONG))
    proxy.clear()


def _refused(running: Chaos, draw: random.Random) -> None:
    proxy = running.wires[draw.choice(sorted(WIRES))]
    proxy.weather.refused = True
    proxy.cut()
    time.sleep(draw.uniform(SHORT, LONG))
    proxy.clear()


# --- Redis and its data ---------------------------------------------------------------------------------------


def _thrown_out(running: Chaos, draw: random.Random) -> None:
    close_clients(server_of(running, draw.choice(SERVERS)))


def _no_writes(running: Chaos, draw: random.Random) -> None:
    with REFUSALS[draw.choice(sorted(REFUSALS))](server_of(running, draw.choice(SERVERS))):
        time.sleep(draw.uniform(SHORT, LONG))


def _emptied(running: Chaos, _: random.Random) -> None:
    running.broker.flushall()


def _poisoned(running: Chaos, draw: random.Random) -> None:
    for kind in draw.sample(sorted(POISON), 3):
        running.broker.rpush(draw.choice(QUEUES), POISON[kind])


def _again(running: Chaos, draw: random.Random) -> None:
    """Send messages again: for jobs that have ended, are in progress or do not exist."""
    ids = [f"chaos.{draw.randint(1, 2000)}" for _ in range(20)]
    running.broker.rpush(SUBMIT, *[json.dumps(message(json.dumps([ids, {}, {}]).encode()))] * 5)
    running.broker.rpush(RECONCILE, *[json.dumps(message(EMPTY, RECONCILE))] * 5)


# --- the provider ---------------------------------------------------------------------------------------------------


def _outage(running: Chaos, draw: random.Random) -> None:
    running.turn(outage=draw.choice(("503", "cut")), outage_seconds=5)
    time.sleep(LONG)


FAULTS: Mapping[str, Fault] = {
    name.strip("_").replace("_", " "): fault
    for name, fault in {
        each.__name__: each
        for each in (
            *(_killed, _ended, _server_killed, _asleep_beyond_the_lease, _asleep, _two_beats, _clock),
            *(_cut, _swallow, _silent, _slow, _refused),
            *(_thrown_out, _no_writes, _emptied, _poisoned, _again),
            _outage,
        )
    }.items()
}
