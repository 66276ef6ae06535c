"""`celery -A worker.main:app worker` and `… beat`."""

import os
from logging import Logger
from typing import Any

from celery import signals

from jobs import logs
from jobs.errors import SettingsInvalid
from worker.app import create_app
from worker.settings import Settings


def _guard(logger: Logger, **_: Any) -> None:
    logs.guard(logger)


try:
    settings = Settings.from_env(os.environ)
except SettingsInvalid as error:
    raise SystemExit(str(error)) from None
logs.begin(settings)
for signal in (signals.after_setup_logger, signals.after_setup_task_logger):
    signal.connect(_guard, weak=False)
app = create_app(settings)
