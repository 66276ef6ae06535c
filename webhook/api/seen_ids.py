"""The ids in an upload, to find those that it names twice, in little memory: 16 bytes of each, and some room."""

from array import array

from jobs.new_job import Outcome

#: Slots at the beginning. It doubles when two thirds are in use.
_SLOTS = 1024
_FULL = 2 / 3
_MASK = (1 << 64) - 1


class SeenIds:
    """A hash table with open addressing of 64-bit hashes: of each id, and of its request."""

    def __init__(self) -> None:
        self._ids, self._texts = _table(_SLOTS), _table(_SLOTS)
        self.count = 0

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return 16 * len(self._ids)

    def add(self, job_id: str, text: str) -> Outcome | None:
        """Note an id with its request. Return what a repeat of an id is: known or conflict; None: it is new."""
        if self.count >= _FULL * len(self._ids):
            self._double()
        id_hash, text_hash = (hash(job_id) & _MASK) or 1, hash(text) & _MASK
        slot = self._slot(self._ids, id_hash)
        if self._ids[slot]:
            return Outcome.KNOWN if self._texts[slot] == text_hash else Outcome.CONFLICT
        self._ids[slot], self._texts[slot] = id_hash, text_hash
        self.count += 1
        return None

    @staticmethod
    def _slot(table: "array[int]", wanted: int) -> int:
        """Return the slot of a hash, or the free one where it belongs."""
        last = len(table) - 1
        slot = wanted & last
        while table[slot] and table[slot] != wanted:
            slot = (slot + 1) & last
        return slot

    def _double(self) -> None:
        ids, texts = self._ids, self._texts
        self._ids, self._texts = _table(2 * len(ids)), _table(2 * len(ids))
        for old, id_hash in enumerate(ids):
            if id_hash:
                slot = self._slot(self._ids, id_hash)
                self._ids[slot], self._texts[slot] = id_hash, texts[old]


def _table(slots: int) -> "array[int]":
    return array("Q", bytes(8 * slots))
