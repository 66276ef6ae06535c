"""The webhook process: `gunicorn webhook.wsgi:app`. Importing it reads the environment and connects to nothing."""

import os

from jobs.errors import SettingsInvalid
from webhook.app import create_app
from webhook.logs import configure
from webhook.settings import Settings

configure()
try:
    app = create_app(Settings.from_env(os.environ))
except SettingsInvalid as error:
    raise SystemExit(str(error)) from None
