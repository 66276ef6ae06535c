"""Seeded decisions: which fault affects which submission, and how often each fault fired."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from ops.simulator.fault_options import AT_REST, BY_NAME, MODIFIERS, Stage, Value, parse_range, read_values

T = TypeVar("T")


class Faults:
    """The current fault options, the decisions drawn from them, and counts of the faults that fired.

    A decision depends only on the seed, the fault, the subject (the external id) and the occasion (which submission,
    callback or look-up of it). It does not depend on the clock or on the order of requests, so a seed reproduces a run.
    """

    def __init__(self, seed: str, values: Mapping[str, Value]) -> None:
        self.seed = seed
        self.fired: Counter[str] = Counter()
        self._start = read_values(values)
        self.values: dict[str, Value] = {}
        self.restore()

    def restore(self) -> None:
        """Restore the values of the start."""
        self.values = dict(AT_REST)
        self.update(self._start)

    def update(self, raw: Mapping[str, object]) -> None:
        """Change some options. Raises FaultOptionInvalid, and changes none, if a name or value is bad."""
        self.values.update(read_values(raw))
        self.latency = parse_range(str(self.values["latency"]))
        active = {
            BY_NAME[name].stage
            for name, value in self.values.items()
            if name not in MODIFIERS and value not in (0, BY_NAME[name].rest)
        }
        self.affects_submissions = Stage.SUBMIT in active or float(self.values["dialect"]) > 0
        self.affects_callbacks = Stage.CALLBACK in active

    def number(self, name: str) -> float:
        """Return the value of an option that holds a number."""
        return float(self.values[name])

    def choice(self, name: str) -> str:
        """Return the value of an option that has a fixed set of choices."""
        return str(self.values[name])

    def count(self, name: str) -> None:
        """Count a fault that fired."""
        self.fired[name] += 1

    def draw(self, fault: str, subject: str, occasion: object) -> float:
        """Return a number in [0, 1), the same for the same arguments and seed."""
        text = f"{self.seed}:{fault}:{subject}:{occasion}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / 2**48

    def fires(self, fault: str, subject: str, occasion: object, share: str | None = None) -> bool:
        """Decide whether `fault` affects `subject` on this occasion, and count it.

        The probability is the value of the option `share`, by default of the fault's own.
        """
        probability = float(self.values[share or fault])
        if probability <= 0 or (probability < 1 and self.draw(fault, subject, occasion) >= probability):
            return False
        self.fired[fault] += 1
        return True

    def fires_for(self, fault: str, subject: str, occasion: object) -> float:
        """Return for how many seconds a fault with a `_share` option affects `subject`; 0: it does not."""
        seconds = self.number(fault)
        return seconds if seconds and self.fires(fault, subject, occasion, share=f"{fault}_share") else 0

    def pick(self, fault: str, subject: str, occasion: object, options: Sequence[T]) -> T:
        """Choose one of `options`, each equally likely."""
        return options[int(self.draw(f"{fault}.pick", subject, occasion) * len(options))]

    def latency_of(self, subject: str, occasion: object) -> float:
        """Return the generation time in seconds."""
        low, high = self.latency
        return low if low == high else low + (high - low) * self.draw("latency", subject, occasion)
