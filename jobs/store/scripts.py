"""Calls the Lua verbs (jobs.store.lua_source) by name."""

from collections.abc import Callable, Sequence
from typing import Any

import redis

from jobs.connections.errors import translate_errors, translated
from jobs.errors import RecordDamaged, StoreUnavailable
from jobs.store.lua_source import REDIS_TIME, assembled
from jobs.store.redis_keys import Keys

#: Verbs whose answer is a promise (a job is accepted) or leads to a cost (a job is claimed): replicas must store them.
PROMISES = frozenset({"enqueue", "commit", "park", "claim"})
#: Milliseconds in which replicas must confirm; less than a client waits for an answer.
PATIENCE_MS = 1_000
_NO_SCRIPTS = "Redis (BOOMERANG_REDIS_URL) has no scripts yet, and this user may not load them: a worker does."


class Scripts:
    """Calls the verbs on one Redis, and loads them when the server does not have them (a restart, a failover).

    With `may_load=False` it never loads them: a worker must do so first.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, clock: str = REDIS_TIME, replicas: int = 0, *, may_load: bool = True
    ) -> None:
        self._client = client
        self._prefix = keys.prefix
        self._written = keys.singleton("written")
        self._replicas = replicas
        self._assembled = assembled(keys, clock)
        self._may_load = may_load
        self._loaded = False

    def ready(self) -> None:
        """Load the scripts if the server lacks one. Raises `StoreUnavailable`."""
        with translate_errors():
            self._load()

    def _load(self) -> None:
        if not all(self._client.script_exists(*(script.sha for script in self._assembled.values()))):
            if not self._may_load:
                raise StoreUnavailable(_NO_SCRIPTS)
            try:
                with self._client.pipeline(transaction=False) as pipe:
                    for script in self._assembled.values():
                        pipe.script_load(script.source)
                    pipe.execute()
            except redis.exceptions.NoPermissionError:
                raise StoreUnavailable(_NO_SCRIPTS) from None
        self._loaded = True

    def call(self, verb: str, *args: Any) -> Any:
        """Run one verb. Raises `StoreUnavailable`."""
        return self.calls([(verb, *args)])[0]

    def calls(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run several verbs in one round trip; each is atomic, the sequence is not."""
        answers = self.call_each(calls)
        for answer in answers:
            if isinstance(answer, RecordDamaged):
                raise answer
        return answers

    @translate_errors()
    def call_each(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Like `calls`, but return `RecordDamaged` as the answer of a verb that met a damaged record."""
        if not self._loaded:
            self._load()
        try:
            answers = self._send(calls)
        except redis.exceptions.NoScriptError:
            # No verb ran: a server that lacks one verb lacks them all.
            self._load()
            answers = self._send(calls)
        return [_damage(answer) if isinstance(answer, redis.RedisError) else answer for answer in answers]

    @translate_errors()
    def call_beside(self, read: Callable[[Any], None], verb: str, *args: Any) -> tuple[list[Any], Any]:
        """Run the commands that `read` adds to a pipeline, and a verb, in one round trip. Neither may change anything.

        Returns the answers to the commands, which may be errors, and that of the verb.
        """
        if not self._loaded:
            self._load()
        answers = self._send_beside(read, verb, *args)
        if isinstance(answers[-1], redis.exceptions.NoScriptError):
            self._load()
            answers = self._send_beside(read, verb, *args)
        *of_commands, of_verb = _raised_last(answers, 1)
        return of_commands, of_verb

    def _send_beside(self, read: Callable[[Any], None], verb: str, *args: Any) -> list[Any]:
        with self._client.pipeline(transaction=False) as pipe:
            read(pipe)
            pipe.evalsha(self._assembled[verb].sha, 1, self._prefix, *args)
            return list(pipe.execute(raise_on_error=False))

    def _send(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the answers, including errors. Raises an error only if no verb ran."""
        waits = self._replicas and any(verb in PROMISES for verb, *_ in calls)
        if len(calls) == 1 and not waits:
            verb, *args = calls[0]
            try:
                return [self._client.evalsha(self._assembled[verb].sha, 1, self._prefix, *args)]
            except redis.exceptions.NoScriptError:
                raise
            except redis.ResponseError as error:
                return [error]
        with self._client.pipeline(transaction=False) as pipe:
            for verb, *args in calls:
                pipe.evalsha(self._assembled[verb].sha, 1, self._prefix, *args)
            if waits:
                # WAIT covers the writes of this connection. A repeated verb writes nothing, hence this write.
                pipe.set(self._written, 1)
                pipe.wait(self._replicas, PATIENCE_MS)
            answers = list(pipe.execute(raise_on_error=False))
        if unknown := [answer for answer in answers if isinstance(answer, redis.exceptions.NoScriptError)]:
            raise unknown[0]
        if not waits:
            return answers
        *answers, _, have = _raised_last(answers, 2)
        if have < self._replicas:
            raise StoreUnavailable(
                f"Only {have} of {self._replicas} replicas (BOOMERANG_REPLICAS) have confirmed the change within "
                f"{PATIENCE_MS} ms. It is done, but a failover may lose it: send the same request again."
            )
        return answers


def _damage(error: redis.RedisError) -> RecordDamaged:
    """Return the damage that an error reports; raise any other error."""
    known = translated(error)
    if isinstance(known, RecordDamaged):
        return known
    raise known from error


def _raised_last(answers: list[Any], many: int) -> list[Any]:
    """Return the answers; raise an error among the last `many`."""
    for answer in answers[-many:]:
        if isinstance(answer, redis.RedisError):
            raise answer
    return answers
