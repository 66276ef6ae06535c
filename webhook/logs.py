"""gunicorn's loggers, with the mask of `jobs.logs`: paths of callbacks contain tokens, and gunicorn logs paths."""

import sys
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from jobs import logs


class GunicornLogger(Logger):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's loggers, which hide tokens."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logs.guard(logger)

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
        """Log an error with its traceback. A client that timed out (webhook.gunicorn_conf) is no error of ours."""
        if isinstance(sys.exc_info()[1], BlockingIOError):
            self.debug("a client sent nothing for too long: %s", msg)
        else:
            super().exception(msg, *args, **kwargs)
