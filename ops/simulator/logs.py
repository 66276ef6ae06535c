"""The simulator's lines, as JSON where BOOMERANG_LOG_FORMAT says so. It shares no code with the service."""

import json
import logging
import os
import sys
from datetime import UTC, datetime


class _Objects(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told)


def start() -> None:
    """Let loggers, warnings and uncaught errors write so."""
    if os.environ.get("BOOMERANG_LOG_FORMAT") != "json":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Objects())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.captureWarnings(capture=True)
    log = logging.getLogger("ops.simulator")
    sys.excepthook = lambda *error: log.critical("uncaught error", exc_info=error)


def say(text: str) -> None:
    """One line to standard output, which programs that start a simulator read; an event where lines are JSON."""
    if os.environ.get("BOOMERANG_LOG_FORMAT") == "json":
        logging.getLogger("ops.simulator").info(text)
        return
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
