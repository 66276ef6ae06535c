"""The simulator's log, as JSON lines with BOOMERANG_LOG_FORMAT=json. It shares no code with the service."""

import json
import logging
import os
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


def start() -> None:
    """Send log records, warnings and uncaught errors to stderr in that format."""
    if os.environ.get("BOOMERANG_LOG_FORMAT") != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
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
