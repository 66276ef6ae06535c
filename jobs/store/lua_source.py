"""Assembles the scripts that Redis runs, one for each verb.

A verb is a file in a folder of `jobs/lua/`. Its script consists of the constants, key names and shared functions that
it uses, then the file itself, with the stored letters in place of the names of fields.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from jobs import (
    batch_ends,
    delivery_log,
    eta,
    history,
    lane_health,
    liveness,
    notices,
    receivers,
    review,
    saving,
    timeline,
)
from jobs.failures import NO_OUTPUT
from jobs.fields import FORMS, MOST_DIGITS, VERSION, WHOLE, BatchCounter, Entry, Fact, Field, Payer, names
from jobs.job import LANE
from jobs.owners import ANYONE, CELERY
from jobs.producer_ids import OWNER_MARK
from jobs.result import MOST_COST
from jobs.states import FINAL, HOLDS_SLOTS, TRANSITIONS
from jobs.store.installation import NEWER_ONLY
from jobs.store.prices import MOST_PRICE, PRICE_CEILING, PRICES_KEPT, PRICES_SURE
from jobs.store.redis_keys import Keys
from jobs.store.spending import CAP_RECHECK, CAP_RECHECK_IDLE, DAY, MOST_LABELS
from jobs.units import duration_micros, nano

#: Leases and alarms use Redis's clock, in µs: a host with a wrong clock can neither take nor extend a lease.
REDIS_TIME = (
    "local function clock() local t = redis.call('TIME'); return tonumber(t[1]) * 1000000 + tonumber(t[2]) end\n"
)
#: Most entries of the event stream.
CHANGES_KEPT = 20_000
#: Bytes that a job takes in Redis beside its request and labels: docs/explanation/benchmarks.md.
RECORD_SIZE = 600
#: Bytes that a review takes beside its text, with its entries in indexes.
REVIEW_SIZE = 200
#: Milliseconds for which a hint counts as under way. After that its message counts as lost.
HINT_MS = 1_000

_FOLDER = files("jobs") / "lua"
#: The shared files, in the order in which they use one another.
_SHARED = (
    "record",
    "timeline",
    "tasks",
    "history",
    "delivery_log",
    "events",
    "prices",
    "money",
    "unknown_costs",
    "queues",
    "forecast",
    "turns",
    "images",
    "epoch",
    "alarms",
    "moves",
    "deliveries",
    "ends",
    "owners",
    "selection",
    "revisions",
    "reviews",
    "accept",
    "lanes",
    "receivers",
    "saves",
)
SHARED_FOLDER = "shared"


class UnknownField(ValueError):
    """Lua source names a field that a record does not have."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis runs it, and its digest in Redis."""

    source: str
    sha: str


def verb_files() -> Mapping[str, Traversable]:
    """Return verb → its file."""
    folders = [folder for folder in _FOLDER.iterdir() if folder.is_dir() and folder.name != SHARED_FOLDER]
    found = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".lua")]
    return {file.name.removesuffix(".lua"): file for file in found}


@cache
def shared_text() -> str:
    """Return the shared source, one file after another, ready to run."""
    return "".join(runnable((_FOLDER / SHARED_FOLDER / f"{part}.lua").read_text("utf-8")) for part in _SHARED)


def runnable(source: str) -> str:
    """Return Lua source without its comments, and with the stored letters in place of the names of fields.

    The source names a field of a record as `job.state`, `change.state` or `scout.state`, in a table as
    `RECORD{state = ..., reason = ...}`, and its letter itself as `FIELD.state`. A fact is `facts.model`. Likewise
    `BATCH.failed`, `PAYER.lane` and `ENTRY.cost` are text (jobs/fields.py), and so is `EVENT.admitted`
    (jobs/timeline.py). Raises `UnknownField`.
    """
    source = _COMMENT.sub(lambda found: found["string"] or "", source)
    source = re.sub(r"(?m)^\s*\n", "", source)
    source = _ACCESS.sub(lambda found: f"{found[1]}.{_letter(found[1], found[2])}", source)
    source = _RECORD.sub(lambda found: f"{{{_KEY.sub(_with_letter, found[1])}}}", source)
    source = _TEXT.sub(lambda found: f"'{found[1] or ''}{_letter(found[2], found[3])}{found[4] or ''}'", source)
    if left := re.search(r"\b(?:RECORD|FIELD|BATCH|PAYER|ENTRY|EVENT)\b.*", source):
        raise UnknownField(f"not understood, expected FIELD.<name> or RECORD{{<name> = ...}} without braces: {left[0]}")
    return source


def _with_letter(key: re.Match[str]) -> str:
    return key[1] + _letter("job", key[2])


def _letter(table: str, name: str) -> str:
    try:
        return _LETTERS[table][name]
    except KeyError:
        raise UnknownField(f"{table}.{name}: no such field; jobs/fields.py lists them") from None


#: A comment, or a string, in which `--` does not begin a comment.
_COMMENT = re.compile(r"(?P<string>'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\")|[ \t]*--[^\n]*")
_ACCESS = re.compile(r"(?<![\w.])(job|change|scout|facts)\.(?!\.)(\w+)")
_RECORD = re.compile(r"\bRECORD\{([^{}]*)\}")
_KEY = re.compile(r"((?:^|,)\s*)(\w+)(?=\s*=[^=])")
#: With adjacent constant text, which Lua would concatenate at each run.
_TEXT = re.compile(r"(?:'([^'\\\n]*)' \.\. )?\b(FIELD|BATCH|PAYER|ENTRY|EVENT)\.(\w+)(?: \.\. '([^'\\\n]*)')?")
#: Members of a job that only a script's answer has.
_BESIDE = {name: name for name in ("id", "now")}
_TABLES = {
    **dict.fromkeys(("job", "scout", "change", "FIELD"), Field),
    "facts": Fact,
    "BATCH": BatchCounter,
    "PAYER": Payer,
    "ENTRY": Entry,
    "EVENT": timeline.Event,
}
_LETTERS = {table: {name: letter for letter, name in names(fields).items()} for table, fields in _TABLES.items()}
_LETTERS["job"].update(_BESIDE)


@cache
def assembled(keys: Keys, clock: str) -> Mapping[str, Script]:
    """Return every script. They are assembled once for each prefix and clock, which takes some milliseconds."""
    made = {}
    for verb, file in verb_files().items():
        source = assemble(file.read_text("utf-8"), keys, clock)
        made[verb] = Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())
    return made


def assemble(verb: str, keys: Keys, clock: str) -> str:
    """Return the script of a verb: with the shared statements that it uses, and the names of its keys."""
    text = needed(_constants() + clock + shared_text(), runnable(verb))
    # Redis 6 replicates scripts as text by default, and then forbids writes after TIME.
    return "redis.replicate_commands()\n" + keys.lua(with_values(text))


def _constants() -> str:
    def members(states: Any) -> str:
        return "{" + ",".join(f"{state}=true" for state in sorted(states)) + "}"

    # Text, because each call of a script builds these tables.
    allowed = ",".join(f"{state}=' {' '.join(sorted(following))} '" for state, following in TRANSITIONS.items())
    forms = ",".join(f"{field}={'WHOLE' if form == WHOLE else repr(form)}" for field, form in FORMS.items())
    return (
        f"local ALLOWED={{{allowed}}}\nlocal HOLDS={members(HOLDS_SLOTS)}\nlocal FINAL={members(FINAL)}\n"
        f"local WHOLE='{WHOLE}'\nlocal MOST_DIGITS={MOST_DIGITS}\nlocal FORMS={{{forms}}}\n"
        f"local DEFAULT_LANE='{LANE}'\nlocal VERSION={VERSION}\n"
        f"local OWNER_MARK='{OWNER_MARK}'\nlocal NEWER_ONLY='{NEWER_ONLY}'\n"
        f"local NO_OUTPUT='{NO_OUTPUT}'\nlocal MOST_COUNTED={nano(MOST_COST)}\n"
        f"local ANYONE='{ANYONE}'\nlocal CELERY='{CELERY}'\n"
        f"local CHANGES_KEPT={CHANGES_KEPT}\nlocal HINT_MS={HINT_MS}\n"
        f"local RATE_SPAN={eta.SPAN}\nlocal RATE_RING={eta.RING}\nlocal RATE_SHIFT={eta.SHIFT}\n"
        f"local ENDS_COLUMNS={batch_ends.COLUMNS}\n"
        f"local DAY={duration_micros(DAY)}\nlocal STALLED_AFTER={duration_micros(liveness.STALLED_AFTER)}\n"
        f"local CAP_RECHECK={duration_micros(CAP_RECHECK)}\n"
        f"local CAP_RECHECK_IDLE={duration_micros(CAP_RECHECK_IDLE)}\n"
        f"local RECORD_SIZE={RECORD_SIZE}\nlocal REVIEW_SIZE={REVIEW_SIZE}\nlocal MOST_LABELS={MOST_LABELS}\n"
        f"local PRICES_KEPT={PRICES_KEPT}\nlocal PRICES_SURE={PRICES_SURE}\n"
        f"local PRICE_CEILING={PRICE_CEILING}\nlocal MOST_PRICE={nano(MOST_PRICE)}\n"
        + lane_health.constants()
        + receivers.constants()
        + delivery_log.constants()
        + notices.constants()
        + review.constants()
        + saving.constants()
        + timeline.constants()
        + history.constants()
    )


def with_values(source: str) -> str:
    """Return Lua source with the values of its constants (numbers and text) in place of their names.

    A function that names a local one costs a search in a list of all such names, for each name, at each call of the
    script: that was a tenth of a script's time.
    """
    values = {name: f"({value})" if value.startswith("-") else value for name, value in _CONSTANT.findall(source)}
    return _NAME.sub(lambda found: found["string"] or values.get(found[0], found[0]), _CONSTANT.sub("", source))


def needed(shared: str, verb: str) -> str:
    """Return a verb below the shared `local` statements (at the margin) that it or another needed one names.

    Redis runs the whole text at each call, so unused statements cost time: creating all functions took longer than the
    work of most verbs.
    """
    statements = _statements(shared)
    wanted = set(_USED.findall(verb))
    kept: set[int] = set()
    while more := {place for place, each in enumerate(statements) if each.declares & wanted} - kept:
        kept |= more
        for place in more:
            wanted |= statements[place].uses
    return "".join(statements[place].text for place in sorted(kept)) + verb


@dataclass(frozen=True, slots=True)
class _Statement:
    text: str
    declares: frozenset[str]
    uses: frozenset[str]


@cache
def _statements(shared: str) -> Sequence[_Statement]:
    return [
        _Statement(
            text,
            frozenset(re.findall(r"\w+", "".join(_DECLARED.findall(text)[:1]))),
            frozenset(_USED.findall(text)),
        )
        for text in re.split(r"(?m)^(?=local )", shared)
    ]


#: A constant at the margin: its name, and its value where that is no table.
_CONSTANT = re.compile(r"(?m)^local ([A-Z][A-Z_]*)=('[^'\n]*'|-?[0-9][0-9.e+-]*)\n")
#: The name of a constant, or a string, in which words are no names.
_NAME = re.compile(r"(?P<string>'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\")|(?<![\w.])[A-Z][A-Z_]*\b")
#: Words, except members of tables.
_USED = re.compile(r"(?<![\w.])\w+|(?<=\.\.)\w+")
#: The names that a statement declares: of a function, or before the `=`.
_DECLARED = re.compile(r"^local (?:function )?(\w+(?: *, *\w+)*)")
