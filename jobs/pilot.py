"""The choice of a pilot: jobs spread evenly over an upload of unknown length, and over its price classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Price classes that are told apart. Jobs of further ones count as one class.
MOST_CLASSES = 200
_OTHERS = "others"


@dataclass(slots=True)
class _Class:
    """The jobs of one price class: how many came, and every `stride`-th of them."""

    count: int = 0
    stride: int = 1
    kept: list[str] = field(default_factory=list)

    def add(self, job_id: str, most: int) -> None:
        if self.count % self.stride == 0:
            self.kept.append(job_id)
        self.count += 1
        if len(self.kept) == most:
            self.kept = self.kept[::2]
            self.stride *= 2

    def spread(self, number: int) -> list[str]:
        """Return `number` of the kept jobs, evenly spread."""
        return [self.kept[(2 * place + 1) * len(self.kept) // (2 * number)] for place in range(number)]


class Sample:
    """Takes the jobs of an upload in order, and keeps some of each price class, whatever the length of the upload."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._classes: dict[str, _Class] = {}

    def add(self, job_id: str, price_class: str) -> None:
        """Take one more job."""
        if price_class not in self._classes and len(self._classes) >= MOST_CLASSES:
            price_class = _OTHERS
        self._classes.setdefault(price_class, _Class()).add(job_id, 2 * self._size)

    def chosen(self) -> list[str]:
        """Return `size` jobs, or all if there are fewer: at least one of each class while there are enough.

        Above that, each class has its share of the jobs.
        """
        classes = list(self._classes.values())
        shares = _shares([each.count for each in classes], self._size)
        return [job_id for each, share in zip(classes, shares, strict=True) for job_id in each.spread(share)]


def _shares(counts: Sequence[int], size: int) -> list[int]:
    """Divide `size` by these counts: the largest get the first one each, and the rest goes by the largest remainder."""
    largest = sorted(range(len(counts)), key=lambda each: -counts[each])
    shares = [0] * len(counts)
    for each in largest[:size]:
        shares[each] = 1
    for each in _by_need(counts, shares, size - sum(shares)):
        shares[each] += 1
    return shares


def _by_need(counts: Sequence[int], shares: Sequence[int], more: int) -> Iterator[int]:
    """Yield the classes that get one more each: the one whose share is farthest below its part of the jobs."""
    given = list(shares)
    for _ in range(more):
        open_ = [each for each, count in enumerate(counts) if given[each] < count]
        if not open_:
            return
        neediest = max(open_, key=lambda each: counts[each] / (given[each] + 0.5))
        given[neediest] += 1
        yield neediest
