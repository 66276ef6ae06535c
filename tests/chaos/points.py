"""The names of all side effects, derived from the code, so that a new one gets its points automatically.

A point is `<use case>:<effect>:<before|after>`. Use cases are the worker's tasks (and `revoke`, by remote control) and
the webhook's endpoints.
"""

import re
from typing import Any

import worker.messages
from jobs.images.images import ImageStore
from jobs.store.lua_source import REDIS_TIME, needed, runnable, shared_text, verb_files
from jobs.store.manifests import Manifests
from worker.provider import Provider

#: The variable that names the folder in which points are armed.
FOLDER = "CRASH_FOLDER"
#: Redis's clock plus an offset in a key, so that tests need not wait.
CLOCK = REDIS_TIME.replace("local function clock()", "local function true_clock()") + (
    "local function clock() return true_clock() + tonumber(redis.call('GET', 'test:ahead') or 0) end\n"
)


def words(text: str) -> frozenset[str]:
    """Split a text into a set of names."""
    return frozenset(text.split())


#: Redis commands in the verbs that change nothing.
LOOKS = words(
    "EXISTS GET HEXISTS HGET HGETALL HKEYS HMGET HVALS LLEN LRANGE SISMEMBER SMEMBERS TIME ZCARD ZCOUNT "
    "TYPE ZRANGE ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZSCORE SCARD"
)


def short(name: str) -> str:
    """Return a task's name without the prefix of all our tasks."""
    return name.removeprefix("boomerang.")


def public(owner: Any) -> set[str]:
    """Return the public methods of a class."""
    return {name for name, value in vars(owner).items() if callable(value) and not name.startswith("_")}


def _writes(verb: str) -> bool:
    text = needed(shared_text(), runnable(verb_files()[verb].read_text("utf-8")))
    return not set(re.findall(r"redis\.call\('(\w+)'", text)) <= LOOKS


VERBS = frozenset(verb_files())
READING_VERBS = frozenset(verb for verb in VERBS if not _writes(verb))
#: Verbs that only the commands of `boomerang-server` call.
BY_HAND = words("recount recover redeliver resave results_removed") | {
    verb for verb in VERBS if verb.startswith("repair_")
}
#: A person's decisions, by a command or by a page: one script each, after which nothing else follows.
BY_DECISION = words("settle settle_cost")
#: Verbs of a worker that finds a new, an emptied or an older Redis: tests/worker/test_continuity.py kills it there.
BY_LOSS = words("found refuse tolerate")
#: A worker's notes that it runs, has a result store and still saves: the next one replaces one that is lost.
BY_TIMER = words("heartbeat announce_saves renew_saves")
#: Every request to the provider may be lost. `close` closes connections and is no request.
PROVIDER = frozenset(public(Provider) - {"close"})
MESSAGES = frozenset(public(worker.messages.Messages))
#: Methods that change an image store.
STORED = frozenset(public(ImageStore) - {"read"})
#: The notes that a manifest is out of date.
MANIFESTS = frozenset(public(Manifests))
#: What a save does at the result store and at the provider: the marker, a temporary file, the download, its end.
RESULTS = words("mark draft fetch put")
#: Effects without a class: reading the stream (once), the state of a task that is no job, the use of a producer's key,
#: an entry of the audit trail, the notification, a notice to people, Celery's work at a task's end, the events for
#: Flower, and the response to the caller.
OTHERS = words("changes task_state key_used audited notifier notice result chord celery.send ack events answer")
EFFECTS = (
    (VERBS - READING_VERBS - BY_HAND - BY_DECISION - BY_LOSS - BY_TIMER)
    | {f"provider.{method}" for method in PROVIDER}
    | {f"messages.{method}" for method in MESSAGES | {"reconcile"}}
    | {f"image_store.{method}" for method in STORED}
    | {f"manifests.{method}" for method in MANIFESTS}
    | {f"result_store.{method}" for method in RESULTS}
    | OTHERS
)
