"""The webhook as a process."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from werkzeug.test import TestResponse


class WebhookServer(NamedTuple):
    port: int
    pid: int
    log: list[str]
    authorization: dict[str, str]


class Serve(Protocol):
    """The type of the fixture `serve`."""

    def __call__(self, env: Mapping[str, str], *options: str) -> WebhookServer: ...


class Messages(Protocol):
    """The type of the fixture `messages`."""

    def __call__(self, queue: str) -> list[list[str]]: ...


class AtProvider(Protocol):
    """The type of the fixture `at_provider`."""

    def __call__(self, job_id: str, *, notify: bool = False) -> str: ...


class CallBack(Protocol):
    """The type of the fixture `call_back`."""

    def __call__(self, external_task_id: str, body: object, secret: str = ...) -> TestResponse: ...
