"""Search for a job by what names it exactly: its id, the external id of an attempt, or the provider's task id."""

from hashlib import sha1

from jobs.attempt_ids import parse_external_id
from jobs.connections.errors import translate_errors
from jobs.fields import is_text
from jobs.producer_ids import given_id, internal_id, owner_in
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs

#: Characters. Nothing that names a job is longer.
LONGEST = 256
#: Hex digits of a task id's digest that name a hash of the index, and those that name its field (lua/shared/tasks.lua).
_HASH, _FIELD = 4, 14


class Search:
    """Finds jobs by exact names, in a few round trips. Raises `StoreUnavailable`."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._client = context.client
        self._keys = context.keys
        self._jobs = jobs

    def find(self, text: str, owner: str | None) -> tuple[str, ...]:
        """Return the ids of the jobs that the text names, of one owner or (None) of any.

        Text is the id as its producer gave it, with or without the producer's name; the external id of any attempt; or
        the provider's id of the job's last task.
        """
        text = text.strip()
        if not 0 < len(text) <= LONGEST or not is_text(text):
            return ()
        parsed = parse_external_id(text)
        named = [text, *([parsed[0]] if parsed else [])]
        candidates = dict.fromkeys(named)
        for each in named:
            if owner_in(each) is not None:
                continue
            owners = self._owners() if owner is None else [owner]
            candidates |= dict.fromkeys(internal_id(given_id(each), name) for name in owners)
        if task := self._of_task(text):
            candidates[task] = None
        ids = list(candidates)
        names = self._jobs.owners(ids)
        return tuple(each for each, name in zip(ids, names, strict=True) if name is not None and owner in (None, name))

    @translate_errors()
    def _owners(self) -> list[str]:
        return sorted(map(str, self._client.smembers(self._keys.singleton("producers"))))

    @translate_errors()
    def _of_task(self, text: str) -> str | None:
        digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        found = self._client.hget(self._keys.member("tasks", digest[:_HASH]), digest[_HASH:_FIELD])
        return None if found is None else str(found)
