"""What the fields of a job's record may hold: one table, for the scripts and for Python.

A record that breaks it was not written by this service: a person, another program or a broken disk changed it. Nobody
acts on such a record (`RecordDamaged`), since whatever followed from it could cost money or lose the job.
"""

import re
from collections.abc import Mapping

from jobs.states import FINAL, State

#: A whole number of at most 16 digits: µs until the year 2286, exact as a Lua number. Both Lua's and Python's pattern.
_WHOLE = r"^%d" + "%d?" * 15 + "$"
_FLAG, _OWED = "^1$", "^[cn][cn]?$"
#: Field → the Lua pattern that its value matches. Fields that are not here hold text.
FORMS: Mapping[str, str] = {
    **dict.fromkeys("nafcuedklxhjziEGZ", _WHOLE),
    **dict.fromkeys("qvFI", _FLAG),
    **dict.fromkeys("gU", _OWED),
    "o": _OWED,
    "Y": "^[012]$",
    "H": "^[01]$",
    "R": "^[%d?]" + "%d?" * 18 + "$",
}
_TEXTS = frozenset("smtbwryKPLVpD")
#: Without these there is no record.
REQUIRED = ("s", "m", "c", "u")
#: All that any version up to this one writes.
KNOWN = frozenset(FORMS) | _TEXTS
_PATTERNS = {field: re.compile(form.replace("%d", r"\d"), re.ASCII) for field, form in FORMS.items()}
#: Characters of a value that a message shows.
_SHOWN = 40


def wrong(fields: Mapping[str, str]) -> str | None:
    """What is wrong with a record, by its fields alone; None: nothing. As `fault` in shared/record.lua."""
    if missing := [field for field in REQUIRED if not fields.get(field)]:
        return f"it lacks the field {missing[0]}"
    for field, value in fields.items():
        if not is_text(field) or not is_text(value):
            return f"its field {shown(field)} is not UTF-8: {shown(value)}"
        if field in _PATTERNS and not _PATTERNS[field].fullmatch(value):
            return f"its field {field} is {shown(value)!r}"
    return _inconsistent(fields, fields["s"], fields.get("p"))


def _inconsistent(fields: Mapping[str, str], state: str, phase: str | None) -> str | None:
    final = state in FINAL
    if state not in _STATES:
        said = f"its state is {shown(state)!r}, which no version knows"
    elif phase is not None and (phase not in _STATES or phase in FINAL):
        said = f"where it stands at the provider (p) is {shown(phase)!r}"
    elif final and "e" not in fields:
        said = "it has ended, but lacks the time of its end (e)"
    elif final and phase is not None and "g" in fields and not {"z", "i"} <= fields.keys():
        said = "it lacks the times of its next look and its next delivery (z, i)"
    elif (phase if final else state) == State.IN_DOUBT and "x" not in fields:
        said = "it is in doubt, but lacks the time since when (x)"
    else:
        return None
    return said


_STATES = frozenset(map(str, State))


def lua() -> str:
    """The table for the scripts, named `FORMS`."""
    return "local FORMS={" + ",".join(f"{field}='{form}'" for field, form in FORMS.items()) + "}\n"


def is_text(text: str) -> bool:
    """Whether it was UTF-8 as it was stored: other bytes are read as half surrogates (`jobs.store.store.connect`)."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def shown(text: str) -> str:
    """Stored text as a message, a table or a log may show it: short, its odd bytes and control characters escaped."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in whole)
    return plain if len(plain) <= _SHOWN else plain[:_SHOWN] + "…"
