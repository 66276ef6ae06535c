"""Seeded decisions: which fault meets whom, and how often each really fired."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ops.simulator.fault_options import AT_REST, BY_NAME, MODIFIERS, Stage, Value, read_values, span

T = TypeVar("T")


class Faults:
    """The knobs' present values, the decisions drawn from them, and a count of what fired.

    A decision depends on (seed, fault, external id, occasion) and on nothing else: not on the clock, not on the order
    in which requests arrive. So a seed reproduces a run although threads and sockets do not.
    """

    def __init__(self, seed: str, values: Mapping[str, Value]) -> None:
        self.seed = seed
        self.fired: Counter[str] = Counter()
        self._start = read_values(values)
        self.values: dict[str, Value] = {}
        self.restore()

    def restore(self) -> None:
        """Back to the values of the start."""
        self.values = dict(AT_REST)
        self.update(self._start)

    def update(self, raw: Mapping[str, object]) -> None:
        """Turn some knobs; KnobInvalid, and nothing turned, if one is unknown or ill-valued."""
        self.values.update(read_values(raw))
        self.latency = span(str(self.values["latency"]))
        active = {
            BY_NAME[name].stage
            for name, value in self.values.items()
            if name not in MODIFIERS and value not in (0, BY_NAME[name].rest)
        }
        self.troubles_submit = Stage.SUBMIT in active or float(self.values["dialect"]) > 0
        self.troubles_callbacks = Stage.CALLBACK in active

    def number(self, name: str) -> float:
        """The value of a knob that holds a number."""
        return float(self.values[name])

    def word(self, name: str) -> str:
        """The value of a knob that holds a word."""
        return str(self.values[name])

    def count(self, name: str) -> None:
        """Note that something fired."""
        self.fired[name] += 1

    def draw(self, fault: str, who: str, occasion: object) -> float:
        """A number in [0, 1), the same for the same arguments and seed."""
        text = f"{self.seed}:{fault}:{who}:{occasion}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48

    def fires(self, fault: str, who: str, occasion: object, share: str | None = None) -> bool:
        """Whether `fault` meets `who` this time, by the probability in the knob `share` (default: its own); counted."""
        probability = float(self.values[share or fault])
        if probability <= 0 or (probability < 1 and self.draw(fault, who, occasion) >= probability):
            return False
        self.fired[fault] += 1
        return True

    def fires_for(self, fault: str, who: str, occasion: object) -> float:
        """Seconds for which a fault with a time and a `_share` meets `who`; 0: it does not."""
        seconds = self.number(fault)
        return seconds if seconds and self.fires(fault, who, occasion, share=f"{fault}_share") else 0

    def pick(self, fault: str, who: str, occasion: object, options: Sequence[T]) -> T:
        """One of the options, evenly."""
        return options[int(self.draw(f"{fault}.pick", who, occasion) * len(options))]

    def latency_of(self, who: str, occasion: object) -> float:
        """Generation time in seconds."""
        low, high = self.latency
        return low if low == high else low + (high - low) * self.draw("latency", who, occasion)
