"""A limited amount of something (places, bytes) that holders share fairly.

One holder may use all of it while no other wants any. A holder that asks for more than is free takes it from the one
that has most, if that is more than it would have itself; the place given last ends first. So an attacker, or a busy
producer, with all places keeps only its share, and no other waits until it has finished.

A place whose client is slow is kept while nobody wants it. It also ends for a holder that has as much without it, and
for another place of its own holder.
"""

from collections import Counter
from collections.abc import Callable
from threading import Lock


class Place:
    """What one request has of a pool. `lost`: another holder has taken it, so the request must end.

    `give_way` ends the request; without it the place cannot be taken. It is called in another thread, without a lock.
    `is_slow` returns whether its client is; it is called in other threads, too.
    """

    def __init__(
        self,
        pool: "FairPool",
        holder: str,
        give_way: Callable[[], None] | None,
        is_slow: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pool = pool
        self.holder = holder
        self.amount = 0
        self.give_way = give_way
        self.is_slow = is_slow
        self.lost = False

    def grow(self, amount: int) -> bool:
        """Take more of the pool, or less. Return False if that is not possible, or if the place is lost."""
        return self._pool.grow(self, amount)

    def keep(self) -> None:
        """Keep the place until its end: the request is past the point at which it can be ended without harm."""
        self.give_way = None

    def release(self) -> None:
        """Give the place back. Repeats do nothing."""
        self._pool.release(self)


class FairPool:
    """An amount that is shared. Safe for threads.

    `count` is called with "refused" for a holder that has its share, and with "gave_way" for each place that is lost.
    """

    def __init__(self, amount: int, count: Callable[[str], None] = lambda _: None) -> None:
        self.free = amount
        self._count = count
        self._places: dict[Place, None] = {}
        self._lock = Lock()

    def take(
        self,
        holder: str,
        amount: int = 1,
        give_way: Callable[[], None] | None = None,
        is_slow: Callable[[], bool] = lambda: False,
    ) -> Place | None:
        """Return a place, or None if the pool is full and the holder has its share."""
        place = Place(self, holder, give_way, is_slow)
        return place if self.grow(place, amount) else None

    def grow(self, place: Place, amount: int) -> bool:
        """Enlarge a place. Return False if that is not possible, or if the place is lost."""
        with self._lock:
            if place.lost:
                return False
            victims = self._victims(place, amount)
            if victims is not None:
                for victim in victims:
                    victim.lost = True
                    self._remove(victim)
                self.free -= amount
                place.amount += amount
                self._places[place] = None
        if victims is None:
            self._count("refused")
            return False
        for victim in victims:
            self._count("gave_way")
            if victim.give_way:
                victim.give_way()
        return True

    def release(self, place: Place) -> None:
        """Take a place back."""
        with self._lock:
            self._remove(place)

    def _remove(self, place: Place) -> None:
        if place in self._places:
            del self._places[place]
            self.free += place.amount

    def _victims(self, place: Place, amount: int) -> list[Place] | None:
        """Return the places that must end so that one can grow. None: its holder would exceed its share."""
        missing = amount - self.free
        if missing <= 0:
            return []
        totals = Counter[str]()
        for each in self._places:
            totals[each.holder] += each.amount
        wanted = totals[place.holder] + amount
        others = [each for each in reversed(self._places) if each.give_way and each.amount > 0 and each is not place]
        slow = {each for each in others if each.is_slow()}

        def gives_way(each: Place) -> bool:
            if each.holder == place.holder:
                return each in slow
            return totals[each.holder] >= wanted if each in slow else totals[each.holder] > wanted

        victims: list[Place] = []
        while missing > 0:
            # Slow ones first, then the holder with most, and of its places the youngest.
            victim = max(filter(gives_way, others), key=lambda each: (each in slow, totals[each.holder]), default=None)
            if victim is None:
                return None
            others.remove(victim)
            victims.append(victim)
            totals[victim.holder] -= victim.amount
            missing -= victim.amount
        return victims
