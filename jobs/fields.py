"""The fields of a job's record: their names, the letters that Redis stores, and the values that they may hold.

The names are for the code, in Python and in Lua (jobs.store.lua_source puts the letters into the scripts). The letters
are for Redis: they are short because a million jobs store them, and so Redis keeps each hash in its compact encoding.
Times are whole microseconds since 1970.

If a record has another value, a person, another program or a broken disk changed it. The service does not act on such
a record (`RecordDamaged`), because that could cost money or lose the job.
"""

import re
from collections.abc import Mapping

from jobs.states import FINAL, State


class Field:
    """The letters under which Redis stores the fields of a job's record, by name.

    Plain strings, not an Enum, for speed: reading a record uses forty of them, and lists read thousands of records.
    """

    STATE = "s"
    PHASE = "p"  #: where the attempt of a cancelled or expired job stands at the provider; absent: it is over
    ATTEMPT = "a"  #: absent: 1
    FENCE = "f"  #: the fencing token
    MODEL = "m"
    IMAGES = "n"  #: how many are to be generated; absent: 1
    CREATED_AT = "c"
    UPDATED_AT = "u"
    ENDED_AT = "e"
    DEADLINE = "d"
    BATCH = "b"
    TASK_ID = "t"  #: the provider's
    SENT = "q"  #: this attempt was handed to a worker
    ADMITTED_BY = "w"  #: the lane that admitted it, until a worker claims it
    SUBMIT_TRIES = "k"  #: submissions of this attempt that surely did not create a task
    LOOKUPS = "l"
    DOUBT_SINCE = "x"
    EXISTS = "v"  #: the provider is known to have the attempt
    MAYBE_SENT = "B"  #: an earlier submission of this attempt may have arrived
    REFUSAL = "Q"  #: the provider's refusal as JSON, which look-ups check before it fails the job
    REASON = "r"
    SETTLED_BY = "y"
    OWED_AT_END = "o"  #: the deliveries that are due when the job ends
    OWED = "g"  #: the deliveries that are still to be made, after the end
    DELIVERY_TRIES = "h"  #: of the notification
    DELIVERY_FENCE = "j"  #: the fencing token of deliveries
    CELERY_TRIES = "ct"  #: how often the messages were sent that finish the parked ones
    CELERY_AT = "ca"  #: when they are due, where a notification is owed as well
    NOTIFY_AT = "na"  #: when the notification is due, where Celery messages are owed as well
    NOTIFICATION = "ns"  #: state of the notification: p (pending), f (failed, tried again), d (delivered), g (given up)
    NOTIFY_FENCE = "nf"  #: the fencing token of the claim whose worker sends the notification
    NAMES_IMAGES = "I"  #: the request names stored images (jobs.images.images)
    LOOKUP_AT = "z"  #: when the next look-up is due, where a delivery is due as well: the alarm is the earlier one
    DELIVERY_AT = "i"  #: when the next delivery is due, where a look-up is due as well
    OWNER = "K"  #: the name of the producer's key, of a job without a batch
    POOL = "P"  #: the pool of lanes; absent: the one for any job
    LANE = "L"  #: the lane of the attempt; absent: `default`
    PRIORITY = "Y"  #: the class; absent: normal
    EXPIRES_AT = "E"  #: it must be submitted before
    RESOLUTION = "V"
    PAUSED = "H"  #: by the producer. 1: the job is due; 0: its time has not come
    EPOCH = "G"  #: the epoch of Redis (lua/shared/epoch.lua) in which it was looked up
    FORGOTTEN = "F"  #: it is looked up because Redis may have forgotten that it was sent
    VERSION = "Z"  #: of the record; absent: 1
    UNDELIVERED = "U"  #: the deliveries that were given up
    DELIVERY_ERROR = "D"  #: why the last delivery failed
    UNREADABLE_SINCE = "A"  #: since when the provider gives no readable answer about the attempt
    UNANSWERED_SINCE = "X"  #: since when it gives no answer about the attempt, although it answers other calls
    NO_RESULT_SINCE = "N"  #: since when the attempt is completed without a usable result
    UNKNOWN_COST = "C"  #: `<lane>|<what was sent>`: the cost of a result is unknown (lua/shared/unknown_costs.lua)
    UNKNOWN_ATTEMPTS = "Ca"  #: the first and the last attempt of unknown cost, as `<first> <last>`
    RESERVED = "R"  #: nano-dollars from admission until the attempt is over; `?`: the price is not known
    STARTED_AT = "S"  #: when a worker last claimed it; kept after the end only where a Celery message is to be finished
    ONLY_BEGUN = "O"  #: its producer is notified only if it was ever handed to a worker
    SIZE = "J"  #: bytes for which its owner's stored bytes count it; absent: it counts nowhere, also not as unfinished
    STARTS = "T"  #: how often it was claimed for submission; absent: at most once
    EARLIER_COST = "ec"  #: nano-dollars that earlier attempts cost, whose results are not stored any more; absent: 0
    REVISION = "rv"  #: how often its request was corrected, plus 1 (lua/job/revise.lua); absent: 1
    REGENERATES = "rg"  #: the completed job whose images it generates once more (lua/job/regenerate.lua)
    REGENERATED_BY = "rb"  #: the job that generates its images once more
    FIRST_ATTEMPT = "fa"  #: the first attempt of the present revision; absent: 1
    PILOT = "M"  #: it belongs to the pilot of its batch, which runs before the batch is approved
    TIMELINE = "tl"  #: what happened to it, and when (jobs.timeline)
    TIMELINE_BEFORE = "tb"  #: what no longer fits into it
    SAVE_SINCE = "W"  #: since when its results are to be saved (jobs.saved)
    SAVE_AT = "Wa"  #: when that is tried next
    SAVE_TRIES = "Wt"  #: failed attempts to save them
    SAVE_FENCE = "Wf"  #: the fencing token of workers that save them
    SAVE_ERROR = "We"  #: why the last attempt to save them failed
    SAVE_REPEATS = "Wr"  #: how often in a row it failed for this reason, beyond the first time
    SAVES_FIRST = "Wd"  #: its deliveries wait until its results are saved or given up
    UNSAVED = "Wu"  #: since when its results are no longer tried to save


class Fact:
    """The members of the JSON that describes a job to accept (jobs.new_job). Staged uploads store it for a while."""

    MODEL = Field.MODEL
    IMAGES = Field.IMAGES
    OWED_AT_END = Field.OWED_AT_END
    OWNER = Field.OWNER
    POOL = Field.POOL
    PRIORITY = Field.PRIORITY
    RESOLUTION = Field.RESOLUTION
    ONLY_BEGUN = Field.ONLY_BEGUN
    LABELS = "l"  #: as JSON
    EXPIRES_IN = "expires"  #: microseconds
    DELAY = "delay"  #: microseconds


def names(table: type) -> dict[str, str]:
    """Return letter → name in lower case, as in Lua source. Raises `ValueError` where two names share a letter."""
    pairs = [(name.lower(), letter) for name, letter in vars(table).items() if name.isupper()]
    by_letter = {letter: name for name, letter in pairs}
    if len(by_letter) < len(pairs):
        raise ValueError(f"two names of {table.__name__} share a letter: {pairs}")
    return by_letter


#: Letter → name. Any version up to this one writes only these.
NAMES: Mapping[str, str] = names(Field)


class BatchCounter:
    """Prefixes of the fields of a batch's hash that count by a key."""

    FAILED = "x:"  #: failed jobs, by error code
    UNFINISHED = "c:"  #: unfinished jobs, by price class
    ENDED = "r:"  #: jobs that ended, by time (jobs.eta)
    ENDS = "ends"  #: jobs that ended before, in columns (jobs.batch_ends): a field of its own, and no beginning
    UNKNOWN_COSTS = "unknown_costs"  #: jobs of unknown cost, likewise
    PILOT_LEFT = "pilot_left"  #: unfinished jobs of its pilot, likewise
    PLACE = "at:"  #: 1, where jobs of the batch wait: by pool and class


class Payer:
    """Prefixes of names in reservations and ledgers, for the payer; and kinds of queues: `BATCH`, `PILOT`, `KEY`."""

    LANE = "l"
    BATCH = "b"
    KEY = "k"  #: a producer's key
    PILOT = "p"  #: the kind of the queue of a batch's pilot
    UNPRICED = "?"  #: jobs of a price class whose price is unknown; also the value of their reservation


class Entry:
    """Prefixes of the names of a ledger's entries, `<lane>|<model>|<batch>|<key>`."""

    COST = "$"  #: nano-dollars
    RESULTS = "#"  #: results that came or cost money
    UNKNOWN = "?"  #: results of unknown cost
    UNKNOWN_OF = "!"  #: the same of a lane or key, before its name as a payer


#: A whole number, which has at most MOST_DIGITS: µs until the year 2286, exact as a Lua number. The pattern, which Lua
#: and Python share, does not count the digits, because Lua's patterns do so slowly.
WHOLE, MOST_DIGITS = "^%d+$", 16
_FLAG, _DELIVERIES = "^1$", "^[cn][cn]?$"
_F = Field
#: The Lua pattern that the value of a field matches. Fields that are not here hold text.
FORMS: Mapping[str, str] = {
    **dict.fromkeys((_F.IMAGES, _F.ATTEMPT, _F.FENCE, _F.CREATED_AT, _F.UPDATED_AT, _F.ENDED_AT, _F.DEADLINE), WHOLE),
    **dict.fromkeys((_F.SUBMIT_TRIES, _F.LOOKUPS, _F.DOUBT_SINCE, _F.DELIVERY_TRIES, _F.DELIVERY_FENCE), WHOLE),
    **dict.fromkeys((_F.CELERY_TRIES, _F.CELERY_AT, _F.NOTIFY_AT, _F.NOTIFY_FENCE), WHOLE),
    **dict.fromkeys((_F.LOOKUP_AT, _F.DELIVERY_AT, _F.EXPIRES_AT, _F.EPOCH, _F.VERSION, _F.SIZE), WHOLE),
    **dict.fromkeys((_F.STARTED_AT, _F.STARTS, _F.UNREADABLE_SINCE, _F.UNANSWERED_SINCE, _F.NO_RESULT_SINCE), WHOLE),
    **dict.fromkeys((_F.EARLIER_COST, _F.REVISION, _F.FIRST_ATTEMPT), WHOLE),
    **dict.fromkeys((_F.SAVE_SINCE, _F.SAVE_AT, _F.SAVE_TRIES, _F.SAVE_REPEATS), WHOLE),
    **dict.fromkeys((_F.SAVE_FENCE, _F.UNSAVED), WHOLE),
    **dict.fromkeys(
        (_F.SENT, _F.EXISTS, _F.SAVES_FIRST, _F.MAYBE_SENT, _F.FORGOTTEN, _F.NAMES_IMAGES, _F.ONLY_BEGUN, _F.PILOT),
        _FLAG,
    ),
    **dict.fromkeys((_F.OWED, _F.UNDELIVERED, _F.OWED_AT_END), _DELIVERIES),
    _F.NOTIFICATION: "^[pfdg]$",
    _F.UNKNOWN_ATTEMPTS: "^%d+ %d+$",
    _F.PRIORITY: "^[012]$",
    _F.PAUSED: "^[01]$",
    _F.RESERVED: "^[%d?]" + "%d?" * 18 + "$",
}
#: Every record has these.
REQUIRED = (Field.STATE, Field.MODEL, Field.CREATED_AT, Field.UPDATED_AT)
_PATTERNS = {field: re.compile(form.replace("%d", r"\d"), re.ASCII) for field, form in FORMS.items()}
#: Characters of a value that a message quotes.
_QUOTED = 40


def wrong(record: Mapping[str, str]) -> str | None:
    """Return what is wrong with the fields of a record, or None: the rules of `find_fault` in record.lua."""
    if missing := [field for field in REQUIRED if not record.get(field)]:
        return f"it lacks the field {label(missing[0])}"
    for field, value in record.items():
        if not is_text(field) or not is_text(value):
            return f"its field {printable(field)} is not UTF-8: {printable(value)}"
        if field in _PATTERNS and not _has_form(field, value):
            return f"its field {label(field)} is {printable(value)!r}"
    return _inconsistent(record, record[Field.STATE], record.get(Field.PHASE))


def _has_form(field: str, value: str) -> bool:
    whole = FORMS[field] == WHOLE
    return bool(_PATTERNS[field].fullmatch(value)) and not (whole and len(value) > MOST_DIGITS)


def _inconsistent(record: Mapping[str, str], state: str, phase: str | None) -> str | None:
    final = state in FINAL
    lacks = None
    if state not in _STATES:
        return f"its state is {printable(state)!r}, which no version knows"
    if phase is not None and (phase not in _STATES or phase in FINAL):
        return f"its field {label(Field.PHASE)} is {printable(phase)!r}"
    if final and Field.ENDED_AT not in record:
        lacks = f"it has ended, but lacks {label(Field.ENDED_AT)}"
    elif final and phase is not None and Field.OWED in record and not record.keys() >= _TIMES:
        lacks = f"it is to be looked up and delivered, but lacks {' or '.join(map(label, sorted(_TIMES)))}"
    elif (phase if final else state) == State.IN_DOUBT and Field.DOUBT_SINCE not in record:
        lacks = f"it is in doubt, but lacks {label(Field.DOUBT_SINCE)}"
    return lacks


_STATES = frozenset(map(str, State))
_TIMES = {Field.LOOKUP_AT, Field.DELIVERY_AT}


def label(field: str) -> str:
    """Name a field in a message, with its letter in Redis: `deadline (d)`."""
    return f"{NAMES[field]} ({field})"


def is_newer(record: Mapping[str, str]) -> bool:
    """Return whether a later version wrote the record. This version must not change it then."""
    version = record.get(Field.VERSION, "")
    return version.isdecimal() and len(version) < _LONG and int(version) > VERSION


#: The version of the record's fields and of the request. Raise it if a process of the previous version could misread a
#: new field: such a process then does not touch the job. Each version reads the previous one.
VERSION = 3
#: No version will have so many digits.
_LONG = 10


def is_text(text: str) -> bool:
    """Return whether it was stored as UTF-8: other bytes are read as half surrogates (jobs.connections.client)."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def printable(text: str) -> str:
    """Prepare stored text for a message, table or log: shorten it, and escape control characters and invalid bytes."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in whole)
    return plain if len(plain) <= _QUOTED else plain[:_QUOTED] + "…"
