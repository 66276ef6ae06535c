"""The Lua verbs: one file each under `lua/`, put together with what they share, and called by name."""

import re
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

import redis

from jobs import eta, fields, lane_health
from jobs.errors import AccessRefused, RecordDamaged, RecordTooNew, StoreUnavailable, WorkRefused
from jobs.job import LANE, VERSION, us
from jobs.states import FINAL, HOLDS_SLOTS, TRANSITIONS
from jobs.store.installation import RECOVER
from jobs.store.redis_keys import Keys
from jobs.store.spending import CAP_LOOK, CAP_LOOK_IDLE, DAY

#: The clock of leases and alarms is Redis's own, in µs: a host with a wrong clock can neither steal nor keep a lease.
REDIS_TIME = (
    "local function clock() local t = redis.call('TIME'); return tonumber(t[1]) * 1000000 + tonumber(t[2]) end\n"
)
#: Entries kept in the stream of changes: enough for those who follow it, and bounded.
CHANGES_KEPT = 20_000
#: What several verbs use, in this order.
SHARED = tuple(f"_{part}.lua" for part in ("record", "money", "queues", "images", "epoch", "lib", "accept", "lanes"))
#: For how long a hint counts as under way, in ms, should its message get lost.
HINT_MS = 1_000

#: What others are told that it is done, or what money is spent upon: jobs accepted, jobs claimed for submission.
PROMISES = frozenset({"enqueue", "commit", "park", "claim"})
#: For so long replicas are waited for (ms); less than a client waits for an answer.
PATIENCE_MS = 1_000

_REFUSALS = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.BusyLoadingError,
    redis.ReadOnlyError,
    redis.OutOfMemoryError,
)
#: Server errors that say "not now" rather than "you are wrong".
_NOT_NOW = re.compile(
    # At the start, after the name of the script (Redis 6), or after that of the command in a pipeline (redis-py).
    r"(?:^|: |-)(?:OOM|MISCONF|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY) "
    r"|command not allowed when used memory"
)
#: A verb met the record of a later version (`load` in _record.lua).
_NEWER = re.compile(r"NEWER ([^\s,]+)")
#: A verb met something damaged (`damaged` in _record.lua), and says what and why.
_DAMAGED = re.compile(r"DAMAGED \[([^\]]*)\] ([^\n]*?)(?: script: [0-9a-f]{40}.*)?$", re.DOTALL)
#: What a command or a script comes to on a value that this service does not write there. An error of a script that
#: begins with "expected" is about its arguments, and a mistake of ours.
_ODD_VALUE = re.compile(
    r"WRONGTYPE|is not an integer|not a valid (?:integer|float)|is not a float|value is out of range|would overflow"
    r"|user_script:\d+: (?!expected |@?user_script|Unknown )"
)
#: The user lacks a right; the last two are said of commands in scripts, since 7.0.
_NO_RIGHT = re.compile(r"NOPERM|NOAUTH|WRONGPASS|no permissions to|can't run this command|can't access at least one")
#: A verb that takes work in or hands it out met a Redis without the jobs that it should hold (_epoch.lua).
_REFUSED = re.compile(r"REFUSED \[(\w+)\] \[([^\]]*)\]")


def why_refused(kind: str, reason: str = "") -> str:
    """Why no work is taken in, and what to do about it."""
    match kind:
        case "lost":
            return f"{reason}. New work is refused until an operator runs `{RECOVER}`."
        case "restarted":
            return "Redis (BOOMERANG_REDIS_URL) was started again, and no worker has looked at its data so far."
        case _:
            return (
                "Redis (BOOMERANG_REDIS_URL) holds no record of an installation: no worker has started with it, or it "
                f"has lost its data. Start a worker, which finds out; if jobs are lost, run `{RECOVER}`."
            )


def translated(error: redis.RedisError) -> Exception:
    """The error of this package for one of redis-py's; what is a mistake of ours stays as it is."""
    said = str(error)
    if raised := _raised_by_script(said):
        return raised
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError)) or _NO_RIGHT.search(said):
        return AccessRefused(said)
    if isinstance(error, _REFUSALS) or _NOT_NOW.search(said):
        return StoreUnavailable(f"Redis (BOOMERANG_REDIS_URL) does not take this now: {type(error).__name__}: {error}")
    if isinstance(error, redis.ResponseError) and _ODD_VALUE.search(said):
        return RecordDamaged("something", said)
    return error


def _raised_by_script(said: str) -> Exception | None:
    if newer := _NEWER.search(said):
        return RecordTooNew(newer[1])
    if refused := _REFUSED.search(said):
        return WorkRefused(why_refused(*refused.groups()))
    if damaged := _DAMAGED.search(said):
        return RecordDamaged(fields.shown(damaged[1]), fields.shown(damaged[2]))
    return None


def _constants() -> str:
    def members(states: Any) -> str:
        return "{" + ",".join(f"{state}=true" for state in sorted(states)) + "}"

    allowed = ",".join(f"{state}={members(following)}" for state, following in TRANSITIONS.items())
    return (
        f"local ALLOWED={{{allowed}}}\nlocal HOLDS={members(HOLDS_SLOTS)}\nlocal FINAL={members(FINAL)}\n"
        + fields.lua()
        + f"local DEFAULT_LANE='{LANE}'\nlocal VERSION={VERSION}\n"
        f"local CHANGES_KEPT={CHANGES_KEPT}\nlocal HINT_MS={HINT_MS}\n"
        f"local RATE_SPAN={eta.SPAN}\nlocal RATE_RING={eta.RING}\nlocal RATE_SHIFT={eta.SHIFT}\n"
        f"local DAY={us(DAY)}\nlocal CAP_LOOK={us(CAP_LOOK)}\nlocal CAP_LOOK_IDLE={us(CAP_LOOK_IDLE)}\n"
        + lane_health.constants()
    )


def needed(shared: str, verb: str) -> str:
    """What of the shared text a verb needs: its `local` statements at the margin that are named by it or one another.

    A script's whole text runs at each call, so that what it does not use costs time all the same: making the functions
    of all of them took longer than most verbs' own work.
    """
    parts = re.split(r"(?m)^(?=local )", shared)
    names = [set(re.findall(r"\w+", "".join(_DECLARED.findall(part)[:1]))) for part in parts]
    wanted = set(re.findall(r"\w+", verb))
    kept: set[int] = set()
    while more := {place for place, declared in enumerate(names) if declared & wanted} - kept:
        kept |= more
        for place in more:
            wanted |= set(re.findall(r"\w+", re.sub(r"--.*", "", parts[place])))
    return "".join(parts[place] for place in sorted(kept)) + verb


def _script(keys: Keys, text: str) -> str:
    # Redis 6 replicates scripts as text unless told so, and then forbids writes after TIME.
    return "redis.replicate_commands()\n" + keys.lua(set(re.findall(r"\bKEY\.(\w+)", text))) + text


#: The names that a statement declares: of a function, or before the `=`.
_DECLARED = re.compile(r"^local (?:function )?(\w+(?: *, *\w+)*)")


class Scripts:
    """Calls the verbs on one Redis; loads them when the server does not know them (a restart, a failover)."""

    def __init__(self, client: redis.Redis, keys: Keys, clock: str = REDIS_TIME, replicas: int = 0) -> None:
        folder = files("jobs") / "lua"
        shared = _constants() + clock + "".join((folder / part).read_text("utf-8") for part in SHARED)
        self._client = client
        self._prefix = keys.prefix
        self._written = keys.single("written")
        self._replicas = replicas
        self._sources = {
            entry.name.removesuffix(".lua"): _script(keys, needed(shared, entry.read_text("utf-8")))
            for entry in folder.iterdir()
            if entry.name.endswith(".lua") and not entry.name.startswith("_")
        }
        self._shas: dict[str, str] = {}

    def ready(self) -> None:
        """See that the server has all of them. Raises `StoreUnavailable`."""
        try:
            self._load()
        except redis.RedisError as error:
            raise translated(error) from error

    def _load(self) -> None:
        shas = {
            name: sha1(source.encode(), usedforsecurity=False).hexdigest() for name, source in self._sources.items()
        }
        if not all(self._client.script_exists(*shas.values())):
            try:
                with self._client.pipeline(transaction=False) as pipe:
                    for source in self._sources.values():
                        pipe.script_load(source)
                    pipe.execute()
            except redis.exceptions.NoPermissionError:
                # As it should be for a process that others can reach: its user runs what is there.
                raise StoreUnavailable(
                    "Redis (BOOMERANG_REDIS_URL) has no scripts yet, and this user may not load them: a worker does."
                ) from None
        self._shas = shas

    def call(self, verb: str, *args: Any) -> Any:
        """Run one verb. Raises `StoreUnavailable`."""
        return self.calls([(verb, *args)])[0]

    def calls(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run several verbs in one round trip; each is atomic, the sequence is not."""
        answers = self.tries(calls)
        for answer in answers:
            if isinstance(answer, RecordDamaged):
                raise answer
        return answers

    def tries(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """As `calls`; but where one met something damaged, a `RecordDamaged` stands for its answer."""
        try:
            if not self._shas:
                self._load()
            try:
                answers = self._send(calls)
            except redis.exceptions.NoScriptError:
                # None of them ran: a server that lacks one verb lacks them all.
                self._load()
                answers = self._send(calls)
        except redis.RedisError as error:
            raise translated(error) from error
        return [_damage(answer) if isinstance(answer, redis.RedisError) else answer for answer in answers]

    def _send(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers, errors among them; raised is what says that none of them ran."""
        waits = self._replicas and any(verb in PROMISES for verb, *_ in calls)
        if len(calls) == 1 and not waits:
            verb, *args = calls[0]
            try:
                return [self._client.evalsha(self._shas[verb], 1, self._prefix, *args)]
            except redis.exceptions.NoScriptError:
                raise
            except redis.ResponseError as error:
                return [error]
        with self._client.pipeline(transaction=False) as pipe:
            for verb, *args in calls:
                pipe.evalsha(self._shas[verb], 1, self._prefix, *args)
            if waits:
                # WAIT is for this connection's writes, and a repeat writes nothing: with one it is for all before it.
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
                f"Redis (BOOMERANG_REDIS_URL) has told {have} of {self._replicas} replicas (BOOMERANG_REPLICAS) within "
                f"{PATIENCE_MS} ms: what was asked for may be done, and may yet be forgotten; ask for the same again."
            )
        return answers


def _damage(error: redis.RedisError) -> RecordDamaged:
    """The damage that an answer tells of; any other error is raised."""
    told = translated(error)
    if isinstance(told, RecordDamaged):
        return told
    raise told from error


def _raised_last(answers: list[Any], many: int) -> list[Any]:
    """The answers; an error among the last of them is raised."""
    for answer in answers[-many:]:
        if isinstance(answer, redis.RedisError):
            raise answer
    return answers
