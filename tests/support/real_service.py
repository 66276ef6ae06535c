"""The real webhook on a real Redis, and a provider that ends jobs by callbacks."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import requests
from PIL import Image
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from jobs.job_filter import JobFilter
from jobs.producer_ids import given_id
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas import GenerationRequest, callback_path
from tests.support.http_server import Server
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

SHOP, KEY, SECRET = "shop", "a-producer-key-for-tests", "a-callback-secret-for-tests"


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@contextmanager
def running(server: BaseWSGIServer | Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(redis_url: str, store: Store, **settings: Any) -> Iterator[str]:
    """Serve the real webhook until the block ends. Yield its URL."""
    known = {
        "api_keys": (f"{SHOP}:{KEY}",),
        "callback_secrets": (SECRET,),
        "redis_url": redis_url,
        "broker_url": redis_url,
    }
    app = create_app(Settings(**(settings | known)), store)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = True  # type: ignore[attr-defined]
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}"


class Images(BaseHTTPRequestHandler):
    """Answers every path with an image."""

    def do_GET(self) -> None:
        buffer = io.BytesIO()
        Image.new("RGB", (300, 300), "red").save(buffer, "PNG")
        self.send_response(200)
        self.send_header("Content-Length", str(len(buffer.getvalue())))
        self.end_headers()
        self.wfile.write(buffer.getvalue())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@contextmanager
def serving_images() -> Iterator[str]:
    """Serve images until the block ends. Yield the server's URL."""
    server = Server(("127.0.0.1", 0), Images)
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}"


@dataclass
class Provider:
    """Accepts jobs and ends them by callbacks."""

    url: str
    store: Store
    images: str = "https://cdn.example.com"
    ended: list[str] = field(default_factory=list)

    def end(self, *ids: str, failed: bool = False) -> None:
        """Complete these jobs, or fail them if `failed`."""
        self.store.attempts.admit(1000)
        for claim in self.store.attempts.claim([own(each, SHOP) for each in ids]):
            if failed:
                error = Result(error={"code": "1301", "message": "=refused"})
                self.store.attempts.finish(claim.id, State.FAILED, error, "submit", fence=claim.fence)
                continue
            assert self.store.attempts.mark_in_progress(claim.id, claim.fence, f"task-{claim.id}")
            image = {"type": "image", "url": f"{self.images}/1.png"}
            output = [{"content": [image]}] * GenerationRequest.from_text(claim.text).n
            body = {"id": "t", "status": "completed", "output": output, "usage": {"cost": "0.0065"}}
            path = callback_path(claim.external_task_id, SECRET)
            assert requests.post(self.url + path, json=body, timeout=10).status_code == 204
            self.ended.append(given_id(claim.id))

    def queued(self) -> Sequence[str]:
        """Return the queued jobs."""
        return [job.given_id for job in self.store.jobs.page(JobFilter(states=[State.QUEUED])).jobs]

    @contextmanager
    def working(self) -> Iterator[None]:
        """End every queued job until the block ends."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(0.02):
                self.end(*self.queued())

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
