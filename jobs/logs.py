"""Log output of the processes: each event is one line or one JSON object, and secrets are masked.

In JSON mode every line of a process is an object, not only the lines of loggers: `start` also converts what any library
prints, and what the interpreter prints when an error ends the process.

The mask is applied to the output of handlers, tracebacks included, because libraries log, too. It knows the values of
the process's secrets, and the shapes of others. In JSON mode an event carries its job, attempt and lane: code that
handles a job sets them once (`about`), for all events of a block.
"""

import copy
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Any, TextIO
from urllib.parse import unquote

from jobs.plain_text import one_line


class LogFormat(StrEnum):
    """How an event is written."""

    TEXT = "text"  #: a line, for people
    JSON = "json"  #: an object, for machines


#: The variable of the format. It is read before all others, because it applies to their errors, too.
LOG_FORMAT = "BOOMERANG_LOG_FORMAT"
HIDDEN = "***"
#: A shorter secret is not masked: it could be an ordinary word, and the log would be unreadable.
SHORTEST = 8
#: Longer than any id or hash (an image's reference has 64 digits), shorter than any image in base64.
_LONG = 200
# Each repetition is bounded, or followed by a character that it cannot match, so that matching takes linear time.
_SHAPES = re.compile(
    r"(?P<kept>/callbacks/[^/\s?]+/)[^\s?\"']+"  # a callback's token
    r"|(?P<header>\b(?:proxy-)?authorization\b[\"']?\s*[:=]\s*[\"']?(?:\w+\s+)?)[^\s\"',}]+"
    r"|(?P<scheme>\b(?:Bearer|Basic)\s+)[^\s\"',}]+"
    r"|(?P<url>\b[a-z][a-z0-9+.-]{0,20}://)[^/\s@\"']{0,200}:[^/\s@\"']{0,200}(?=@)"  # a password in a URL
    r"|(?P<name>[?&][\w.-]{0,40}(?:token|key|secret|sig|signature|password|credential)[\w.-]{0,40}=)[^&\s\"'#]+"
    r"|(?P<ours>\bbmr_[0-9a-f]{12}_)[A-Za-z0-9_-]+"  # a producer's key (jobs.api_keys)
    r"|(?P<whsec>\bwhsec_)[A-Za-z0-9+/_-]+=*"
    rf"|(?P<blob>)(?:data:[\w/+.-]+;base64,)?[A-Za-z0-9+/_-]{{{_LONG},}}=*",  # an image
    re.IGNORECASE,
)
_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Add facts (`job`, `attempt`, `lane`) to all events of a block."""
    token = _about.set({**_about.get(), **facts})
    try:
        yield
    finally:
        _about.reset(token)


def secrets_of(settings: Any) -> frozenset[str]:
    """Return every text that a settings dataclass excludes from its `repr`; of a URL, only the password."""
    found: set[str] = set()
    for each in fields(settings):
        if not each.repr:
            for value in _texts(getattr(settings, each.name)):
                found |= _secrets_in(value)
    return frozenset(secret for secret in found if len(secret) >= SHORTEST)


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    return [value] if isinstance(value, str) else [each for each in value or () if isinstance(each, str)]


def _secrets_in(value: str) -> set[str]:
    if "://" in value:
        # Not urlsplit: it may reject the list of hosts in the URL of sentinels.
        authority = re.split("[/?#]", value.partition("://")[2], maxsplit=1)[0]
        password = authority.rpartition("@")[0].partition(":")[2]
        return {password, unquote(password)}
    # `name:secret` of producers' keys.
    return {value, value.partition(":")[2]}


class Mask:
    """Replaces secrets in text: given values, and whatever has the shape of a secret."""

    def __init__(self, secrets: frozenset[str] = frozenset()) -> None:
        # The longest first: one secret may be the beginning of another.
        known = sorted(secrets, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        if self._known:
            text = self._known.sub(HIDDEN, text)
        return _SHAPES.sub(lambda found: f"{found[found.lastgroup or 0]}{HIDDEN}", text)


class Guarded(logging.Formatter):
    """Masks what another formatter writes; with `as_json`, writes JSON instead."""

    #: Class attributes, because handlers are made before the settings are read.
    mask = Mask()
    as_json = False

    def __init__(self, lines: logging.Formatter | None = None) -> None:
        super().__init__()
        self._lines = lines or logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return self._object(record) if Guarded.as_json else Guarded.mask(self._lines.format(_escaped(record)))

    def _object(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_about.get(),
        }
        if record.exc_info and any(record.exc_info):
            event["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            event["stack"] = record.stack_info
        masked = {name: Guarded.mask(value) if isinstance(value, str) else value for name, value in event.items()}
        return json.dumps(masked, default=lambda value: Guarded.mask(str(value)))


def _escaped(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record with its message on one line. The lines of a traceback begin with `  `, as no event does."""
    plain = copy.copy(record)
    plain.msg, plain.args = one_line(record.getMessage()), ()
    if record.exc_info and any(record.exc_info):
        plain.exc_text = _indented(logging.Formatter().formatException(record.exc_info))
    elif record.exc_text:
        plain.exc_text = _indented(record.exc_text)
    if record.stack_info:
        plain.stack_info = _indented(record.stack_info)
    return plain


def _indented(text: str) -> str:
    return "\n".join(f"  {one_line(line)}" for line in text.split("\n"))


class Printed:
    """A standard stream that turns printed text into JSON events.

    An event ends with a piece that ends a line, so that a text of several lines stays one event. There is no `fileno`,
    so that no code (such as Celery's signal handlers) writes to the file descriptor directly.
    """

    encoding, errors = "utf-8", "backslashreplace"
    #: Characters after which an event is written although its line has not ended.
    LONGEST = 64 * 1024

    def __init__(self, stream: TextIO, name: str, level: int) -> None:
        #: Where events go, and handlers of loggers write.
        self.stream = stream
        self._name = name
        self._level = level
        self._pieces: list[str] = []

    def write(self, text: str) -> int:
        """Write a piece of text. Bytes raise TypeError, by which click recognizes a text stream."""
        self._pieces.append("" + text)
        if text.endswith("\n") or sum(map(len, self._pieces)) > self.LONGEST:
            self._end_event()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several pieces."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream, but not an unfinished line: a flush may come in the middle of one."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Return False: the output is for machines."""
        return False

    def _end_event(self) -> None:
        text, self._pieces = "".join(self._pieces).strip("\n"), []
        if text.strip():
            self.stream.write(_event(self._name, self._level, text) + "\n")
            self.stream.flush()


def start(environ: Mapping[str, str]) -> None:
    """Write JSON from now on if BOOMERANG_LOG_FORMAT asks for it. Call it first: errors in settings are logged, too."""
    if environ.get(LOG_FORMAT) != LogFormat.JSON or isinstance(sys.stderr, Printed):
        return
    Guarded.as_json = True
    _catch_errors()
    sys.stdout = sys.__stdout__ = Printed(sys.stdout, "stdout", logging.INFO)  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = Printed(sys.stderr, "stderr", logging.WARNING)  # type: ignore[assignment, misc]


def begin(settings: Any) -> None:
    """Mask the secrets of these settings from now on, and write in their format; uncaught errors too."""
    Guarded.mask = Mask(secrets_of(settings))
    Guarded.as_json = settings.log_format is LogFormat.JSON
    _catch_errors()


def guard(logger: logging.Logger) -> None:
    """Mask the output of this logger's handlers."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, Guarded):
            handler.setFormatter(Guarded(handler.formatter))
        if isinstance(handler, logging.StreamHandler) and isinstance(handler.stream, Printed):
            # The handler writes complete events already.
            handler.setStream(handler.stream.stream)


def to_stderr(level: int = logging.INFO) -> None:
    """Let the root logger write to standard error, unless it is configured already."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))
        root.setLevel(level)
    guard(root)


def escape_unconfigured() -> None:
    """Escape and mask what is logged in a process that has not configured its loggers: a command."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Guarded(logging.Formatter("%(message)s")))


def at_once(name: str, message: str) -> None:
    """Write an event without loggers and buffers. Safe in a signal handler."""
    os.write(2, f"{_event(name, logging.INFO, message)}\n".encode())


def _event(name: str, level: int, message: str) -> str:
    return Guarded().format(logging.LogRecord(name, level, "", 0, message, None, None))


def _catch_errors() -> None:
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
    if kind is None or error is None or not issubclass(kind, Exception):
        sys.__excepthook__(kind or BaseException, error or BaseException(), trace)
        return
    handler = logging.StreamHandler(sys.stderr.stream if isinstance(sys.stderr, Printed) else sys.stderr)
    handler.setFormatter(Guarded())
    # Without loggers and levels: they may drop it, or not be configured yet.
    handler.handle(logging.LogRecord("uncaught", logging.CRITICAL, "", 0, "uncaught error", None, (kind, error, trace)))
