"""`celery -A worker.main:app worker`, `… beat` and `… flower`."""

import importlib
import os
from logging import Logger
from typing import Any

import click
from celery import Celery, signals

from jobs import logs
from jobs.errors import SettingsInvalid
from worker.app import ask_only, create_app
from worker.settings import Settings


def _guard(logger: Logger, **_: Any) -> None:
    logs.guard(logger)


def _shutting_down(how: str, **_: Any) -> None:
    # With JSON lines Celery's own message about this does not appear: it is printed, not logged.
    if logs.Guarded.as_json:
        logs.at_once(__name__, f"worker: {how} shutdown")


def _loads_tasks(sender: Celery, **_: Any) -> None:
    context = click.get_current_context(silent=True)
    if context is not None and context.info_name == "flower":
        ask_only(sender)
        # Imported by name, because Flower may not be installed elsewhere.
        importlib.import_module("worker.flower").take_over()


logs.start(os.environ)
# For Flower. Celery's other commands set their own handler.
logs.to_stderr()
try:
    settings = Settings.from_env(os.environ)
except SettingsInvalid as error:
    raise SystemExit(str(error)) from None
logs.begin(settings)
for signal in (signals.after_setup_logger, signals.after_setup_task_logger):
    signal.connect(_guard, weak=False)
signals.worker_shutting_down.connect(_shutting_down, weak=False)
signals.import_modules.connect(_loads_tasks, weak=False)
app = create_app(settings)
