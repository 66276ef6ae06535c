"""gunicorn's own loggers, under the same mask as everything else (`jobs.logs`).

Callback addresses carry a token, and both gunicorn's access log and its error messages print addresses.
"""

import sys
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from jobs import logs


class GunicornLogger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's own loggers, with the mask."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logs.guard(logger)

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
        """A fault with its traceback; a client that fell silent (webhook.gunicorn_conf) is none of ours."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.debug("a client fell silent: %s", msg)
        else:
            super().exception(msg, *args, **kwargs)
