"""The table of fault options. The command line, the control API and the documentation follow from it."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = float | str


class FaultOptionInvalid(ValueError):
    """The option does not exist or does not take the value. The message says what it takes."""


class Kind(StrEnum):
    """What values an option takes."""

    #: A probability, 0 to 1.
    SHARE = "share"
    #: Seconds, 0 or more.
    SECONDS = "seconds"
    #: A whole number, 0 or more (0 mostly means "no limit").
    COUNT = "count"
    #: Seconds: a fixed time, "2", or a range, "0.5-3", in which the seed chooses.
    SPAN = "span"
    #: One of the values in `choices`.
    CHOICE = "choice"


class Stage(StrEnum):
    """What an option affects. A submission checks only the stages in which an option is switched on."""

    LIMIT = "limit"
    SUBMIT = "submit"
    TASK = "task"
    CALLBACK = "callback"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class FaultOption:
    """A fault option. `rest` is its default, `storm` its value with `--storm`."""

    name: str
    stage: Stage
    kind: Kind
    rest: Value
    storm: Value
    help: str
    choices: tuple[str, ...] = ()

    def read(self, raw: object) -> Value:
        """Convert a command-line argument or a JSON value. Raises FaultOptionInvalid."""
        if self.kind is Kind.CHOICE:
            if raw not in self.choices:
                raise FaultOptionInvalid(f"{self.name} takes one of {', '.join(self.choices)}, not {raw!r}")
            return str(raw)
        if self.kind is Kind.SPAN:
            text = str(raw)
            parse_range(text)
            return text
        try:
            number = float("nan") if isinstance(raw, bool) else float(raw)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        most = 1 if self.kind is Kind.SHARE else math.inf
        if not (math.isfinite(number) and 0 <= number <= most):
            wanted = "a number from 0 to 1" if self.kind is Kind.SHARE else "a number of 0 or more"
            raise FaultOptionInvalid(f"{self.name} takes {wanted}, not {raw!r}")
        if self.kind is Kind.COUNT and number != int(number):
            raise FaultOptionInvalid(f"{self.name} takes a whole number, not {raw!r}")
        return number


def parse_range(text: str) -> tuple[float, float]:
    """Parse '2' as (2.0, 2.0) and '0.5-3' as (0.5, 3.0), in seconds. Raises FaultOptionInvalid."""
    first, dash, second = text.partition("-")
    try:
        low = float(first)
        high = float(second) if dash else low
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(high) and 0 <= low <= high):
        raise FaultOptionInvalid(f"latency takes seconds such as 2 or a range such as 0.5-3, not {text!r}")
    return low, high


_L, _S, _T, _C, _G = Stage.LIMIT, Stage.SUBMIT, Stage.TASK, Stage.CALLBACK, Stage.STATUS
_P, _SEC, _N, _CH = Kind.SHARE, Kind.SECONDS, Kind.COUNT, Kind.CHOICE

# The storm includes every fault except two kinds, which separate tests cover: faults that would end the run (an
# outage, a refused key, a Retry-After of ten years), and faults after which the cost cannot be known from outside (a
# task that fails in its first callback and is billed).
FAULT_OPTIONS: tuple[FaultOption, ...] = (
    # name, stage, kind, rest, storm, help, choices
    FaultOption(
        "latency",
        _T,
        Kind.SPAN,
        "2",
        "0.2-1.5",
        "generation time in seconds, fixed or a range; 0: the task ends at once",
    ),
    FaultOption(
        "slots",
        _L,
        _N,
        0,
        0,
        "most images of a key in flight (the sum of n), beyond it 429 with code 1303; 0: no limit",
    ),
    FaultOption(
        "rate", _L, _N, 0, 0, "most submissions of a key per second, beyond it 429 with code 1302; 0: no limit"
    ),
    FaultOption(
        "retry_after",
        _L,
        _CH,
        "seconds",
        "seconds",
        "kind of Retry-After in a 429",
        ("seconds", "date", "garbage", "far", "none", "mixed"),
    ),
    FaultOption("account", _L, _CH, "ok", "ok", "every call is refused with this status", ("ok", "401", "402", "403")),
    FaultOption(
        "outage",
        _L,
        _CH,
        "off",
        "off",
        "answer everything with 503, cut every connection, or (for outage_seconds) refuse connections",
        ("off", "503", "cut", "refuse"),
    ),
    FaultOption(
        "outage_seconds",
        _L,
        _SEC,
        0,
        0,
        "the outage ends by itself after this many seconds; 0: never (refuse: after 5)",
    ),
    FaultOption("throttle", _S, _P, 0, 0.03, "429 without a reason, nothing created"),
    FaultOption("slow", _S, _SEC, 0, 0.4, "the submission is handled only after this many seconds"),
    FaultOption("slow_share", _S, _P, 1, 0.1, "the share of submissions that `slow` affects"),
    FaultOption("cut_before", _S, _P, 0, 0.02, "the connection is cut, nothing created"),
    FaultOption("error_before", _S, _P, 0, 0.04, "500, 502, 503 or 504, nothing created"),
    FaultOption("no_id", _S, _P, 0, 0.02, "200 without an id (bare, or with an error), nothing created"),
    FaultOption("redirect", _S, _P, 0, 0.02, "301, 302, 307 or 308 to the same address, nothing created"),
    FaultOption("ghost", _S, _SEC, 0, 2, "no answer; the task is created this many seconds later"),
    FaultOption("ghost_share", _S, _P, 1, 0.02, "the share of submissions that `ghost` affects"),
    FaultOption(
        "lost_answers", _S, _P, 0, 0.05, "created, then the connection is cut (with `hang`: half of them hang first)"
    ),
    FaultOption(
        "hang",
        _S,
        _SEC,
        0,
        3,
        "seconds that `lost_answers` and `ghost` let the caller wait before the connection is cut",
    ),
    FaultOption("error_after", _S, _P, 0, 0.04, "created, then 500, 502, 503 or 504"),
    FaultOption("html", _S, _P, 0, 0.02, "200 with an HTML page; created in half of the cases"),
    FaultOption("truncated", _S, _P, 0, 0.02, "created, then 200 with half of the JSON"),
    FaultOption("wrong_id", _S, _P, 0, 0.01, "created, then 200 with an unknown id, or with another task's"),
    FaultOption("drip", _S, _P, 0, 0.02, "created, then the answer is sent byte by byte"),
    FaultOption("drip_seconds", _S, _SEC, 5, 1, "seconds that an answer sent byte by byte takes"),
    FaultOption("huge", _S, _P, 0, 0.002, "created, then 200 with a body of 200 MB"),
    FaultOption("gzip_bomb", _S, _P, 0, 0.002, "created, then 200 with a small gzip body that inflates to 200 MB"),
    FaultOption(
        "duplicates",
        _S,
        _CH,
        "conflict",
        "mixed",
        "an external id that was used before: 409; 400 with 1201; in other words; any of these; or not noticed and "
        "billed twice",
        ("conflict", "kling", "words", "mixed", "unnoticed"),
    ),
    FaultOption("fail", _T, _P, 0, 0.05, "the task fails with a code for which a new attempt may help (002016095-099)"),
    FaultOption("fail_permanent", _T, _P, 0, 0.01, "the task fails for good (1301)"),
    FaultOption("bill_failures", _T, _P, 0, 0, "a failed task is billed"),
    FaultOption("drop_callbacks", _C, _P, 0, 0.15, "a callback is never sent"),
    FaultOption("repeat_callbacks", _C, _P, 0, 0.15, "a callback is sent several times, all copies at once"),
    FaultOption("repeat_times", _C, _N, 1, 3, "number of additional copies of a repeated callback"),
    FaultOption("early_callbacks", _C, _P, 0, 0.05, "the final callback is sent and answered before the submission is"),
    FaultOption("late_callbacks", _C, _P, 0, 0.05, "a callback is sent `late_by` seconds late"),
    FaultOption("late_by", _C, _SEC, 5, 3, "seconds by which a late callback is late"),
    FaultOption("reorder_callbacks", _C, _P, 0, 0.1, "the callback of the start is sent after that of the end"),
    FaultOption(
        "forge_callbacks", _C, _P, 0, 0.1, "a forged callback is sent too: wrong token, another job's path, or garbage"
    ),
    FaultOption(
        "callback_shape",
        _C,
        _CH,
        "gateway",
        "mixed",
        "the form of a callback's body",
        ("gateway", "kling", "kling-new", "minimal", "mixed"),
    ),
    FaultOption("callback_nested", _C, _P, 0, 0.25, "the callback's body is nested under `data`"),
    FaultOption(
        "succeed_then_fail", _C, _P, 0, 0.05, "the callback of a completed task is followed by one that says it failed"
    ),
    FaultOption(
        "fail_then_succeed", _C, _P, 0, 0, "the callback of a completed task is preceded by one that says it failed"
    ),
    FaultOption("dialect", _G, _P, 0, 0.2, "other status words, other places of the id, numbers instead of strings"),
    FaultOption(
        "lookup_lag", _G, _SEC, 0, 1, "a look-up by external id gets 404 until this many seconds after the creation"
    ),
    FaultOption(
        "status_lag", _G, _SEC, 0, 0, "a look-up by task id gets 404 until this many seconds after the creation"
    ),
    FaultOption(
        "expire_images", _G, _SEC, 0, 0, "images get 404 from this many seconds after the end of their task; 0: never"
    ),
    FaultOption("status_down", _G, _P, 0, 0.05, "a look-up gets 5xx, or its connection is cut"),
)

BY_NAME: Mapping[str, FaultOption] = {option.name: option for option in FAULT_OPTIONS}
AT_REST: Mapping[str, Value] = {option.name: option.rest for option in FAULT_OPTIONS}
STORM: Mapping[str, Value] = {option.name: option.storm for option in FAULT_OPTIONS}

#: Options that modify another one and have no effect of their own.
MODIFIERS = frozenset(
    {"slow_share", "ghost_share", "hang", "drip_seconds", "duplicates", "repeat_times", "late_by", "retry_after"}
)


def read_values(raw: Mapping[str, object]) -> dict[str, Value]:
    """Validate options by name. Raises FaultOptionInvalid, which suggests the nearest known name."""
    values: dict[str, Value] = {}
    for name, value in raw.items():
        option = BY_NAME.get(name)
        if option is None:
            near = difflib.get_close_matches(name, BY_NAME, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise FaultOptionInvalid(f"unknown fault {name!r}{hint}; known: {', '.join(BY_NAME)}")
        values[name] = option.read(value)
    return values
