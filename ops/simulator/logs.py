"""The simulator's log: an event a line, as JSON with BOOMERANG_LOG_FORMAT=json. It shares no code with the service."""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


#: What a terminal may obey, or what begins a line: control characters, marks of direction, halves of surrogate pairs.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _TextFormatter(logging.Formatter):
    """Writes an event on one line. The lines of a traceback begin with two spaces, as no event does."""

    def format(self, record: logging.LogRecord) -> str:
        lines = [record.getMessage().replace("\n", "\\n")]
        if record.exc_info:
            lines += [f"  {line}" for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(_OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), line) for line in lines)


def start() -> None:
    """Send log records, and as JSON also warnings and uncaught errors, to stderr."""
    as_json = os.environ.get("BOOMERANG_LOG_FORMAT") == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO if as_json else logging.WARNING)
    if not as_json:
        return
    logging.captureWarnings(capture=True)
    log = logging.getLogger("ops.simulator")
    sys.excepthook = lambda *error: log.critical("uncaught error", exc_info=error)


def announce(text: str) -> None:
    """Print a line to stdout, for programs that start a simulator. With JSON lines, log it instead."""
    if os.environ.get("BOOMERANG_LOG_FORMAT") == "json":
        logging.getLogger("ops.simulator").info(text)
        return
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
