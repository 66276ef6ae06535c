"""Sessions of requests: they repeat requests, close their sockets, and follow no redirect."""

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from boomerang_client.request_retries import is_upload, sent_once
from boomerang_client.stopping import POOLS

#: Connections kept open, so that as many threads can share a client.
THREADS = 32


class ClosingAdapter(HTTPAdapter):
    """Closes its sockets when it is closed.

    urllib3 2 only drops its pools. Their sockets stay open until the garbage collector finds them, which may take long
    after an error, because the frames of the traceback refer to the pool.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def close(self) -> None:
        pools = self.poolmanager.pools
        for key in pools.keys():  # noqa: SIM118 -- not a dict: it cannot be iterated
            pool = pools.get(key)
            if pool is not None:
                pool.close()
        super().close()


class Adapter(ClosingAdapter):
    """Repeats every request except retries of jobs and streams of events.

    A retry has no id. If the service carried out the first one and that attempt has failed since, a repeat would start
    one more attempt, which was not wanted and may cost money. The answer that the service is full (429) to an upload is
    also returned to the caller, who may have to wait long and must know it.
    """

    def __init__(self, usual: Retry, uploads: Retry, never: Retry) -> None:
        super().__init__(max_retries=usual, pool_maxsize=THREADS)
        self._unrepeated = ClosingAdapter(max_retries=never)
        self._uploads = ClosingAdapter(max_retries=uploads)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        path = request.path_url.partition("?")[0]
        if sent_once(path, has_body=bool(request.body)):
            return self._unrepeated.send(request, *args, **kwargs)
        if is_upload(request.method, path):
            return self._uploads.send(request, *args, **kwargs)
        return super().send(request, *args, **kwargs)

    def close(self) -> None:
        self._unrepeated.close()
        self._uploads.close()
        super().close()


class Session(requests.Session):
    """A session to which no answer is a redirect: requests would read and decode what a redirect says, unbounded."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 -- the signature of requests
        return None
