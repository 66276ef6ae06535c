"""`celery -A worker.main:app worker` and `… beat`."""

import os

from jobs.errors import SettingsInvalid
from worker.app import create_app
from worker.settings import Settings

try:
    app = create_app(Settings.from_env(os.environ))
except SettingsInvalid as error:
    raise SystemExit(str(error)) from None
