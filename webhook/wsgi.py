"""The webhook process: `gunicorn webhook.wsgi:app`. Importing it reads the environment, but connects to nothing."""

import os

from jobs import logs
from jobs.errors import SettingsInvalid
from webhook.app import create_app
from webhook.settings import Settings

logs.start(os.environ)
logs.to_stderr()
try:
    settings = Settings.from_env(os.environ)
except SettingsInvalid as error:
    raise SystemExit(str(error)) from None
logs.begin(settings)
app = create_app(settings)
