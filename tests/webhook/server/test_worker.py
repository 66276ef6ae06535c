"""Options of gunicorn that the worker class refuses."""

import logging
from typing import Any

import pytest
from gunicorn.config import Config

from webhook.server.worker import Worker


@pytest.mark.parametrize(
    ("option", "value"),
    [("proxy_protocol", "auto"), ("proxy_protocol", "v2"), ("certfile", "x.pem"), ("http_protocols", "h1,h2")],
)
def test_options_that_it_cannot_guard_are_refused(option: str, value: Any) -> None:
    config = Config()
    Worker.check_config(config, logging.getLogger())
    config.set(option, value)
    with pytest.raises(SystemExit):
        Worker.check_config(config, logging.getLogger())
