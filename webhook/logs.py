"""Logging of the process: one line an event, with `name=value` pairs, and no token or key in any of them.

Callback addresses carry a token, and both gunicorn's access log and its error messages print addresses: so the mask is
put on what leaves a handler, not on what we happen to log.
"""

import logging
import re
import sys
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

_SECRETS = re.compile(r"(/callbacks/[^/\s?]+/)[^\s?\"']+|(\bBearer\s+)[^\s\"']+", re.IGNORECASE)
FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s %(message)s"


def masked(text: str) -> str:
    """The text without callback tokens and bearer keys."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2]}***", text)


class MaskedFormatter(logging.Formatter):
    """Formats, tracebacks included, and then masks."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def configure(level: int = logging.INFO) -> None:
    """Let the root logger write masked lines to standard error, unless someone has configured it already."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(MaskedFormatter(FORMAT))
        root.addHandler(handler)
        root.setLevel(level)


class GunicornLogger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's own loggers, with the same mask."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            for handler in logger.handlers:
                was = handler.formatter
                handler.setFormatter(MaskedFormatter(was._fmt if was else None, was.datefmt if was else None))  # noqa: SLF001 - no public way to the format

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
        """A fault with its traceback; a client that fell silent (webhook.gunicorn_conf) is none of ours."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.debug("a client fell silent: %s", msg)
        else:
            super().exception(msg, *args, **kwargs)
