"""`celery -A worker.main:app worker` and `… beat`."""

import os

from worker.app import create_app
from worker.settings import Settings

app = create_app(Settings.from_env(os.environ))
