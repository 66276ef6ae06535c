"""The client of the generation API. Every call returns an outcome; no answer or failure of the provider raises."""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import BadStatusLine, HTTPException
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError, SSLError

from jobs.lanes import LaneSettings
from jobs.logs import HIDDEN, SHORTEST
from schemas import GenerationRequest, TaskError, callback_path, has_parameter
from worker.http.deadline import DEADLINE, BoundedAdapter, Deadline, TunnelFailed
from worker.http.session import Session
from worker.provider.body import Pieces, body_of
from worker.provider.outcomes import Doubtful, Held, LookupOutcome, NotSent, Refused, SubmitOutcome, Unavailable
from worker.provider.outcomes import read_status_answer as _read_status
from worker.provider.outcomes import read_submit_answer as _read_submit
from worker.provider.plain import plain
from worker.settings import STATUS_PATH, Envelope, Settings

#: An external id that no attempt has: if theirs contain a `~`, they end in `~2` or a higher number.
UNUSED_ID = "boomerang-probe~0"
SUBMIT_PATH = "/model/v1/generation"
#: Bytes of an answer that are read: this API's answers are smaller. Compressed ones are expanded to as many.
LARGEST_ANSWER = 4 * 1024 * 1024
_CHUNK = 64 * 1024
_NO_IMAGES: Mapping[str, bytes] = MappingProxyType({})


class Provider:
    """A client for one lane. Each process has one per lane."""

    def __init__(self, settings: Settings, lane: LaneSettings | None = None) -> None:
        lane = lane or settings.lanes[0]
        self._settings = settings
        self._base = (lane.url or settings.provider_url).rstrip("/")
        self._lane = lane
        self._timeout = (settings.connect_timeout, settings.read_timeout)
        # Its cookie policy stores no cookies.
        self._session = Session()
        if settings.provider_proxy:
            self._session.proxies = dict.fromkeys(("http", "https"), settings.provider_proxy)
        if settings.provider_ca:
            self._session.verify = settings.provider_ca
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # No retries here: only the job's record decides what is sent again.
        # Submissions and polls have `concurrency` threads each.
        adapter = BoundedAdapter(pool_connections=4, pool_maxsize=2 * settings.concurrency, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.headers.update(
            {
                "Authorization": f"Bearer {settings.key_of(lane)}",
                "Content-Type": "application/json",
                # Answers are small. One that is compressed nevertheless is expanded within bounds (`plain`), which
                # urllib3 2.8 does not do.
                "Accept-Encoding": "identity",
            }
        )

        self._template = self._session.prepare_request(requests.Request("GET", self._base))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @property
    def can_look_up(self) -> bool:
        """Whether the provider can find a task by its external id."""
        return self._settings.lookup_path is not None

    def submit(
        self, request: GenerationRequest, external_task_id: str, images: Mapping[str, bytes] = _NO_IMAGES
    ) -> SubmitOutcome:
        """Submit one attempt. `images`: hash → base64 of the images that the request refers to."""
        try:
            body = body_of(request, lambda sent: self._envelope(sent, external_task_id), images)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Nothing was sent, and a repeat would fail again.
            return Refused(TaskError("", f"the request cannot be encoded ({type(error).__name__}); enqueue it again"))
        try:
            status, headers, answer = self._call("POST", SUBMIT_PATH, body, external_task_id)
        except requests.ConnectionError as error:
            return NotSent(_error_name(error)) if _never_sent(error) else Doubtful(*_no_answer(error))
        except (requests.RequestException, HTTPError, OSError) as error:
            return Doubtful(*_no_answer(error))
        if status == requests.codes.proxy_authentication and self._settings.provider_proxy:
            return NotSent(f"the proxy answered {status}")
        return _read_submit(status, headers, answer, external_task_id)

    def get_status(self, task_id: str, external_task_id: str) -> LookupOutcome | Held:
        """Get the status of a task by the provider's id."""
        return self._get_task(STATUS_PATH, task_id, external_task_id)

    def find_by_external_id(self, external_task_id: str) -> LookupOutcome | Held:
        """Get the status of a task by its external id. Call only if `can_look_up`."""
        return self._get_task(self._settings.lookup_path or STATUS_PATH, external_task_id, external_task_id)

    def probe(self, known: str = "") -> LookupOutcome | Held:
        """Get a task that cannot exist, or the `known` one: an external id, or without look-ups the provider's id.

        Any outcome but a silent `Unavailable` shows that the provider answers.
        """
        if known:
            return self._get_task(self._settings.lookup_path or STATUS_PATH, known, known)
        return self._get_task(STATUS_PATH, UNUSED_ID, UNUSED_ID)

    def _get_task(self, path: str, name: str, external_task_id: str) -> LookupOutcome | Held:
        try:
            where = path.replace("{id}", quote(name, safe="~"))
            status, headers, answer = self._call("GET", where, None, external_task_id)
        except (requests.RequestException, HTTPError, OSError) as error:
            return Unavailable(*_no_answer(error))
        return _read_status(status, answer, external_task_id, headers)

    def _call(
        self, method: str, path: str, body: bytes | Pieces | None, external_task_id: str
    ) -> tuple[int, Any, bytes]:
        DEADLINE.set(Deadline(sum(self._timeout)))
        # A copy, because preparing each request from the start would take a fifth of a submission's CPU.
        prepared = self._template.copy()
        prepared.method, prepared.url = method, self._base + path
        prepared.prepare_body(body, None)
        # Follow no redirect: requests would POST again on 307 and 308.
        with self._session.send(prepared, timeout=self._timeout, allow_redirects=False, stream=True) as response:
            body = plain(_read(response), response.headers, LARGEST_ANSWER)
            return response.status_code, response.headers, self._without_secrets(body, external_task_id)

    def _without_secrets(self, answer: bytes, external_task_id: str) -> bytes:
        """Hide the provider's key and the callback token in an answer, because parts of it are stored and logged."""
        key, secrets = self._settings.key_of(self._lane) or "", self._settings.callback_secrets
        tokens = [callback_path(external_task_id, secret).rpartition("/")[2] for secret in secrets]
        for hidden in (key, *tokens):
            if len(hidden) >= SHORTEST:
                answer = answer.replace(hidden.encode(), HIDDEN.encode())
        return answer

    def _envelope(self, request: GenerationRequest, external_task_id: str) -> dict[str, Any]:
        settings = self._settings
        params = dict(request.params)
        if settings.image_key != "image" and "image_list" in params and has_parameter(request.model, "image_list"):
            params["image_list"] = [{settings.image_key: item["image"]} for item in params["image_list"]]
        if settings.public_url:
            path = callback_path(external_task_id, settings.callback_secrets[0])
            params["callback_url"] = settings.public_url.rstrip("/") + path
        params["external_task_id"] = external_task_id
        if settings.envelope is Envelope.FLAT:
            return {"model": request.model, **params}
        return {"model": request.model, "input": [{"params": params}]}


def _read(response: requests.Response) -> bytes:
    """Read the body. One that is too long, too slow or breaks off is cut: the provider has answered nevertheless."""
    parts: list[bytes] = []
    size = 0
    with suppress(requests.RequestException, HTTPError, OSError):
        while size < LARGEST_ANSWER and (part := response.raw.read1(_CHUNK, decode_content=False)):
            parts.append(part)
            size += len(part)
    return b"".join(parts)[:LARGEST_ANSWER]


def _never_sent(error: requests.ConnectionError) -> bool:
    """Return whether the connection failed, so that no byte of the request can have arrived."""
    reason = _reason(error)
    if isinstance(reason, SSLError):
        # Only a refused certificate surely precedes the first byte. Other TLS errors may occur later.
        return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in reason.args)
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _no_answer(error: BaseException) -> tuple[str, bool, str | None]:
    """Return (reason, silent, seen) of a call that failed. Headers that cannot be read are an answer nevertheless."""
    causes = getattr(error.args[0] if error.args else None, "args", ())
    odd = isinstance(error, requests.exceptions.InvalidHeader) or any(
        # BadStatusLine: no HTTP, or the connection was closed.
        isinstance(cause, HTTPException) and not isinstance(cause, BadStatusLine)
        for cause in causes
    )
    name = _error_name(error)
    return (f"the headers of the provider's answer cannot be read: {name}", False, "") if odd else (name, True, None)


def _reason(error: BaseException) -> BaseException | None:
    """Return urllib3's reason for an error.

    That of a ProxyError is in it. The type alone says nothing: urllib3 also raises it if a connection through a proxy
    breaks after the request was sent.
    """
    reason: BaseException | None = getattr(error.args[0] if error.args else None, "reason", None)
    return reason.original_error if isinstance(reason, ProxyError) else reason


def _error_name(error: BaseException) -> str:
    """Return the type of an error. Not its message, because urllib3's messages contain whole URLs."""
    reason = _reason(error)
    name = type(error).__name__
    if isinstance(reason, TunnelFailed) and reason.status:
        return f"{name} (the proxy answered {reason.status})"
    return f"{name} ({type(reason).__name__})" if reason is not None else name
