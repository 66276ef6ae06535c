"""Read by a plain `gunicorn webhook.wsgi:app` that is started in this folder."""

from webhook.gunicorn_conf import *  # noqa: F403 - gunicorn takes its settings from the names of this module
