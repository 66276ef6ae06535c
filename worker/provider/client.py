"""The requests client of the generation API. Every call returns an outcome; none raises for what the provider does."""

import ssl
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from jobs.lanes import LaneSettings
from jobs.logs import HIDDEN, SHORTEST
from schemas import GenerationRequest, callback_path
from worker.http.deadline import DEADLINE, BoundedAdapter
from worker.provider.body import Pieces, body_of
from worker.provider.outcomes import Doubtful, Held, Looked, NotSent, Submitted, Unavailable
from worker.provider.outcomes import read_status_answer as _read_status
from worker.provider.outcomes import read_submit_answer as _read_submit
from worker.settings import STATUS_PATH, Envelope, Settings

#: An external id that no attempt has: theirs end in `~2` and above, if there is a `~`.
NOBODYS = "boomerang-probe~0"
SUBMIT_PATH = "/model/v1/generation"
#: A larger answer is not one of this API's; it is not read to its end.
LARGEST_ANSWER = 4 * 1024 * 1024
_CHUNK = 64 * 1024
_NO_IMAGES: Mapping[str, bytes] = MappingProxyType({})


class _TooMuch(Exception):
    """The answer is too large."""


class Provider:
    """One session per process and lane, its pool as wide as the process's concurrency."""

    def __init__(self, settings: Settings, lane: LaneSettings | None = None) -> None:
        lane = lane or settings.lanes[0]
        self._settings = settings
        self._base = (lane.url or settings.provider_url).rstrip("/")
        self._lane = lane
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        self._session = requests.Session()
        # The environment's proxies and .netrc are not asked (a quarter of a call's CPU), cookies are not kept.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # No retries below us: what may be sent again is decided by the record alone.
        # Submissions and looks have as many threads each.
        adapter = BoundedAdapter(pool_connections=4, pool_maxsize=2 * settings.concurrency, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.headers.update(
            {
                "Authorization": f"Bearer {settings.key_of(lane)}",
                "Content-Type": "application/json",
                # Answers are small. A compressed one is not unpacked: it could grow without bound (urllib3 2.8).
                "Accept-Encoding": "identity",
            }
        )

        self._blank = self._session.prepare_request(requests.Request("GET", self._base))

    def close(self) -> None:
        """Close the pool's connections."""
        self._session.close()

    @property
    def can_look_up(self) -> bool:
        """Whether a task can be looked for by its external id."""
        return self._settings.lookup_path is not None

    def submit(
        self, request: GenerationRequest, external_task_id: str, images: Mapping[str, bytes] = _NO_IMAGES
    ) -> Submitted:
        """POST one attempt. `images`: hash → base64 of the stored images that the request refers to."""
        body = body_of(request, lambda sent: self._envelope(sent, external_task_id), images)
        try:
            status, headers, answer = self._call("POST", SUBMIT_PATH, body, external_task_id)
        except requests.ConnectionError as error:
            return NotSent(_short(error)) if _never_sent(error) else Doubtful(_short(error), silent=True)
        except (requests.RequestException, HTTPError, _TooMuch, OSError) as error:
            return Doubtful(_short(error), silent=not isinstance(error, _TooMuch))
        return _read_submit(status, headers, answer, external_task_id)

    def get_status(self, task_id: str, external_task_id: str) -> Looked | Held:
        """Ask for the status of a task by the provider's own id."""
        return self._look(STATUS_PATH, task_id, external_task_id)

    def find_by_external_id(self, external_task_id: str) -> Looked | Held:
        """Ask for the status of a task by its external id. Only where `can_look_up`."""
        return self._look(self._settings.lookup_path or STATUS_PATH, external_task_id, external_task_id)

    def probe(self) -> Looked | Held:
        """Ask for a task that cannot be: anything but a silent `Unavailable` shows that the provider is there."""
        return self._look(STATUS_PATH, NOBODYS, NOBODYS)

    def _look(self, path: str, name: str, external_task_id: str) -> Looked | Held:
        try:
            status, _, answer = self._call("GET", path.replace("{id}", quote(name, safe="~")), None, external_task_id)
        except (requests.RequestException, HTTPError, _TooMuch, OSError) as error:
            return Unavailable(_short(error), silent=not isinstance(error, _TooMuch))
        return _read_status(status, answer, external_task_id)

    def _call(
        self, method: str, path: str, body: bytes | Pieces | None, external_task_id: str
    ) -> tuple[int, Any, bytes]:
        DEADLINE.set(time.monotonic() + sum(self._timeout))
        # All requests differ in little: preparing each from nothing would cost a fifth of a submission's CPU.
        prepared = self._blank.copy()
        prepared.method, prepared.url = method, self._base + path
        prepared.prepare_body(body, None)
        # A redirect is never followed: requests would POST again on 307 and 308.
        with self._session.send(prepared, timeout=self._timeout, allow_redirects=False, stream=True) as response:
            return response.status_code, response.headers, self._without_secrets(_read(response), external_task_id)

    def _without_secrets(self, answer: bytes, external_task_id: str) -> bytes:
        """The answer, should it repeat our key or the call's token: what it says is stored, logged and shown."""
        key, secrets = self._settings.key_of(self._lane) or "", self._settings.callback_secrets
        tokens = [callback_path(external_task_id, secret).rpartition("/")[2] for secret in secrets]
        for hidden in (key, *tokens):
            if len(hidden) >= SHORTEST:
                answer = answer.replace(hidden.encode(), HIDDEN.encode())
        return answer

    def _envelope(self, request: GenerationRequest, external_task_id: str) -> dict[str, Any]:
        settings = self._settings
        params = dict(request.params)
        if settings.image_key != "image" and "image_list" in params:
            params["image_list"] = [{settings.image_key: item["image"]} for item in params["image_list"]]
        if settings.public_url:
            path = callback_path(external_task_id, settings.callback_secrets[0])
            params["callback_url"] = settings.public_url.rstrip("/") + path
        params["external_task_id"] = external_task_id
        if settings.envelope is Envelope.FLAT:
            return {"model": request.model, **params}
        return {"model": request.model, "input": [{"params": params}]}


def _read(response: requests.Response) -> bytes:
    """The body, bounded in size."""
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(_CHUNK, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise _TooMuch("the answer is too large")
    return b"".join(parts)


def _never_sent(error: requests.ConnectionError) -> bool:
    """Whether the connection itself failed, so that not a byte of the request can have arrived."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, SSLError):
        # Only a certificate that was not accepted is surely before the first byte; other TLS errors may come later.
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in reason.args)
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _short(error: BaseException) -> str:
    """The kind of an error in a few words. Not its text: urllib3's hold whole URLs."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    name = type(error).__name__
    return f"{name} ({type(reason).__name__})" if reason is not None else name
