"""Two receivers of notifications on this machine: one that accepts them, and one that is gone."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def receivers() -> Iterator[tuple[str, str]]:
    """Run both while the block runs. Yield their addresses."""
    with ExitStack() as held:
        yield held.enter_context(_receiver(204)), held.enter_context(_receiver(410))


@contextmanager
def _receiver(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/notifications"
        finally:
            server.shutdown()
            thread.join()
