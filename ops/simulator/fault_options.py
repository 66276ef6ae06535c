"""All that can be turned while the simulator runs: one table, from which options and control API follow."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = float | str


class KnobInvalid(ValueError):
    """A knob that does not exist, or a value that it does not take; the message says what it would take."""


class Kind(StrEnum):
    """What values a knob takes."""

    #: a probability, 0 to 1
    SHARE = "share"
    #: a time, 0 or more
    SECONDS = "seconds"
    #: a whole number, 0 or more (0 mostly means "no limit")
    COUNT = "count"
    #: "2" or "0.5-3": seconds, a fixed time or a range drawn from by the seed
    SPAN = "span"
    #: one of the words in `options`
    CHOICE = "choice"


class Stage(StrEnum):
    """Where a knob bites; a submission consults only the stages in which something is switched on."""

    LIMIT = "limit"
    SUBMIT = "submit"
    TASK = "task"
    CALLBACK = "callback"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Knob:
    """One thing to turn: its name, what values it takes, its value at rest and its value in the storm."""

    name: str
    stage: Stage
    kind: Kind
    rest: Value
    storm: Value
    help: str
    options: tuple[str, ...] = ()

    def read(self, raw: object) -> Value:
        """`raw` (a word of the command line, or a JSON value) as a value of this knob; KnobInvalid otherwise."""
        if self.kind is Kind.CHOICE:
            if raw not in self.options:
                raise KnobInvalid(f"{self.name} takes one of {', '.join(self.options)}, not {raw!r}")
            return str(raw)
        if self.kind is Kind.SPAN:
            text = str(raw)
            span(text)
            return text
        try:
            number = float("nan") if isinstance(raw, bool) else float(raw)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        most = 1 if self.kind is Kind.SHARE else math.inf
        if not (math.isfinite(number) and 0 <= number <= most):
            wanted = "a number from 0 to 1" if self.kind is Kind.SHARE else "a number of 0 or more"
            raise KnobInvalid(f"{self.name} takes {wanted}, not {raw!r}")
        if self.kind is Kind.COUNT and number != int(number):
            raise KnobInvalid(f"{self.name} takes a whole number, not {raw!r}")
        return number


def span(text: str) -> tuple[float, float]:
    """'2' → (2.0, 2.0), '0.5-3' → (0.5, 3.0), in seconds; KnobInvalid otherwise."""
    first, dash, second = text.partition("-")
    try:
        low = float(first)
        high = float(second) if dash else low
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(high) and 0 <= low <= high):
        raise KnobInvalid(f"latency takes seconds such as 2 or a range such as 0.5-3, not {text!r}")
    return low, high


_L, _S, _T, _C, _G = Stage.LIMIT, Stage.SUBMIT, Stage.TASK, Stage.CALLBACK, Stage.STATUS
_P, _SEC, _N, _CH = Kind.SHARE, Kind.SECONDS, Kind.COUNT, Kind.CHOICE

# The storm's column leaves at rest only what would end the run instead of disturbing it (a whole outage, a refused key,
# a Retry-After of ten years) or what makes "spent = the ledger" undecidable from outside (a task that fails in its
# first callback and is paid for all the same). Each of these is for a test of its own.
KNOBS: tuple[Knob, ...] = (
    # name, stage, kind, at rest, in the storm, what happens
    Knob("latency", _T, Kind.SPAN, "2", "0.2-1.5", "generation time in seconds, fixed or a range; 0 = done at once"),
    Knob(
        "slots",
        _L,
        _N,
        0,
        0,
        "429 with code 1303 beyond this many images of a key in flight, the sum of n; 0 = no limit",
    ),
    Knob("rate", _L, _N, 0, 0, "429 with code 1302 beyond this many submissions of a key a second; 0 = no limit"),
    Knob(
        "retry_after",
        _L,
        _CH,
        "seconds",
        "seconds",
        "what Retry-After of a 429 carries",
        ("seconds", "date", "garbage", "far", "none", "mixed"),
    ),
    Knob("account", _L, _CH, "ok", "ok", "every call is refused with this status", ("ok", "401", "402", "403")),
    Knob(
        "outage",
        _L,
        _CH,
        "off",
        "off",
        "503 to everything, cut every connection, or (for outage_seconds) refuse connections",
        ("off", "503", "cut", "refuse"),
    ),
    Knob("outage_seconds", _L, _SEC, 0, 0, "the outage ends by itself after this long; 0 = never (refuse: 5)"),
    Knob("throttle", _S, _P, 0, 0.03, "429 out of the blue, nothing created"),
    Knob("slow", _S, _SEC, 0, 0.4, "the submission is taken up only after this long"),
    Knob("slow_share", _S, _P, 1, 0.1, "the share of submissions that `slow` meets"),
    Knob("cut_before", _S, _P, 0, 0.02, "the connection is cut, nothing created"),
    Knob("error_before", _S, _P, 0, 0.04, "500, 502, 503 or 504, nothing created"),
    Knob("no_id", _S, _P, 0, 0.02, "200 without an id (bare, or with an error), nothing created"),
    Knob("redirect", _S, _P, 0, 0.02, "301, 302, 307 or 308 to the same address, nothing created"),
    Knob("ghost", _S, _SEC, 0, 2, "no answer, and the task is created this many seconds later"),
    Knob("ghost_share", _S, _P, 1, 0.02, "the share of submissions that `ghost` meets"),
    Knob("lost_answers", _S, _P, 0, 0.05, "created, then the connection is cut (with `hang`: half of them hang first)"),
    Knob("hang", _S, _SEC, 0, 3, "how long a hanging or ghostly answer keeps its caller before the cut"),
    Knob("error_after", _S, _P, 0, 0.04, "created, then 500, 502, 503 or 504"),
    Knob("html", _S, _P, 0, 0.02, "200 with a page of HTML; created or not, evenly"),
    Knob("truncated", _S, _P, 0, 0.02, "created, then 200 with half of the JSON"),
    Knob("wrong_id", _S, _P, 0, 0.01, "created, then 200 with an id that is nobody's, or another task's"),
    Knob("drip", _S, _P, 0, 0.02, "created, then the answer comes byte by byte"),
    Knob("drip_seconds", _S, _SEC, 5, 1, "how long a dripping answer takes"),
    Knob("huge", _S, _P, 0, 0.002, "created, then 200 with a body of 200 MB"),
    Knob("gzip_bomb", _S, _P, 0, 0.002, "created, then 200 with a small gzip body that inflates to 200 MB"),
    Knob(
        "duplicates",
        _S,
        _CH,
        "conflict",
        "mixed",
        "an external id seen before: 409; 400 with 1201; either; or not noticed and bought twice",
        ("conflict", "kling", "mixed", "unnoticed"),
    ),
    Knob("fail", _T, _P, 0, 0.05, "the task fails with a code that a new attempt may cure (002016095-099)"),
    Knob("fail_permanent", _T, _P, 0, 0.01, "the task fails for good (1301)"),
    Knob("bill_failures", _T, _P, 0, 0, "a failed task is charged for all the same"),
    Knob("drop_callbacks", _C, _P, 0, 0.15, "a callback is never sent"),
    Knob("repeat_callbacks", _C, _P, 0, 0.15, "a callback is sent again, all copies at once"),
    Knob("repeat_times", _C, _N, 1, 3, "how many copies more a repeated callback has"),
    Knob("early_callbacks", _C, _P, 0, 0.05, "final callback sent, and answered, before the submission's own answer"),
    Knob("late_callbacks", _C, _P, 0, 0.05, "a callback is sent `late_by` seconds late"),
    Knob("late_by", _C, _SEC, 5, 3, "how late a late callback is"),
    Knob("reorder_callbacks", _C, _P, 0, 0.1, "the callback of the start comes after that of the end"),
    Knob("forge_callbacks", _C, _P, 0, 0.1, "a forgery besides: wrong token, another job's path, garbage"),
    Knob(
        "callback_shape",
        _C,
        _CH,
        "gateway",
        "mixed",
        "the body of a callback",
        ("gateway", "kling", "kling-new", "minimal", "mixed"),
    ),
    Knob("callback_nested", _C, _P, 0, 0.25, "the body is one level down, under data"),
    Knob("succeed_then_fail", _C, _P, 0, 0.05, "a completed task's callback, then one that says it failed"),
    Knob("fail_then_succeed", _C, _P, 0, 0, "a callback that says it failed, then the true one of a completed task"),
    Knob("dialect", _G, _P, 0, 0.2, "other status words, id places, int codes, numbers for strings"),
    Knob("lookup_lag", _G, _SEC, 0, 1, "404 to a look-up by external id until this long after creation"),
    Knob("status_lag", _G, _SEC, 0, 0, "404 to a look-up by task id until this long after creation"),
    Knob("status_down", _G, _P, 0, 0.05, "a look-up answers 5xx, or its connection is cut"),
)

BY_NAME: Mapping[str, Knob] = {knob.name: knob for knob in KNOBS}
AT_REST: Mapping[str, Value] = {knob.name: knob.rest for knob in KNOBS}
STORM: Mapping[str, Value] = {knob.name: knob.storm for knob in KNOBS}

#: These colour another knob; alone they make nothing happen.
MODIFIERS = frozenset(
    {"slow_share", "ghost_share", "hang", "drip_seconds", "duplicates", "repeat_times", "late_by", "retry_after"}
)


def read_values(raw: Mapping[str, object]) -> dict[str, Value]:
    """Knob values from outside; KnobInvalid names an unknown knob's nearest neighbour and all known ones."""
    values: dict[str, Value] = {}
    for name, value in raw.items():
        knob = BY_NAME.get(name)
        if knob is None:
            near = difflib.get_close_matches(name, BY_NAME, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise KnobInvalid(f"unknown fault {name!r}{hint}; known: {', '.join(BY_NAME)}")
        values[name] = knob.read(value)
    return values
