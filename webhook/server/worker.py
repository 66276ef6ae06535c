"""gunicorn's threads, with request heads read by the event loop.

gunicorn's gthread worker reads heads in its threads, without a time limit, and waits in its event loop for clients to
close. Some hundred clients that send half a head, or keep a connection open, then stop all others. Here a connection
gets a thread when its head is complete; callbacks and health checks have threads of their own; and when there are too
many connections, those that wait are closed, the oldest first.

It overrides methods of gunicorn's class that are not documented, so `tests/webhook/test_slow_clients.py` measures it.
"""

import contextlib
import selectors
import time
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from webhook.http.connection import Connection, Direction, TooSlow
from webhook.server.open_files import allow_files
from webhook.server.plain_answers import HEAD_SECONDS, MOST_HEAD, plain_answer
from webhook.server.pools import Pool, Pools, form_length
from webhook.server.waiting import AddressLimit, Stage, Waiting

#: Seconds, and bytes, for which a closed connection is still read, so that its client gets the last answer.
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024
_LINGER_CHUNK = 256 * 1024
#: Seconds for which a process that stops keeps a connection, because a request may be on its way.
STOP_SECONDS = 2.0
#: Bytes of a body that no view has read, and that are discarded so that the connection can serve another request.
DRAIN_BYTES = 64 * 1024
#: Connections accepted in one turn of the event loop.
_ACCEPTED_AT_ONCE = 64
#: Seconds between two searches for connections whose time has passed.
_EXPIRY_INTERVAL = 0.25


class Client(TConn):  # type: ignore[misc] # gunicorn ships no types
    """A connection with the head that has arrived so far."""

    def __init__(self, cfg: Any, sock: Connection, peer: Any, server: Any, group: str | None) -> None:
        super().__init__(cfg, sock, peer, server)
        self.group = group
        #: It came when its address had too many connections, all of them in use.
        self.is_surplus = False
        self.pool: Pool | None = None
        self.data_ready = True  # gunicorn's threads would wait for data otherwise
        self.head = bytearray()
        self.stage = Stage.FIRST_HEAD
        self.ends = 0.0
        self.registered = False
        self.drained = 0
        #: Bytes that must arrive before a thread serves the request; 0 until the head is complete.
        self.wanted = 0

    def init(self) -> None:
        """Give the parser the head. gunicorn calls it in a thread, for each request."""
        super().init()
        if self.head:
            self.parser.unreader.unread(bytes(self.head))
            self.head.clear()


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's worker class (`webhook.gunicorn_conf`)."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.waiting: Waiting[Client] = Waiting()
        self._expiry_at = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what this class cannot guard. gunicorn calls it before it starts."""
        super().check_config(cfg, log)
        if cfg.is_ssl or list(cfg.http_protocols) != ["h1"]:
            raise SystemExit("The webhook speaks HTTP/1.1 without TLS: let a proxy in front of it do the rest.")
        if cfg.proxy_protocol != "off":
            # Its line stands before the head, so that paths and addresses would not be seen.
            raise SystemExit("The webhook cannot read the PROXY protocol: let the proxy send X-Forwarded-For instead.")

    def init_process(self) -> None:
        """Start. gunicorn calls it in the new process, and it returns when the process ends."""
        wanted: int = self.cfg.worker_connections
        self.worker_connections = min(wanted, allow_files(wanted))
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the app, whose settings limit the connections, and which counts those that are closed."""
        super().load_wsgi()
        shared = self.wsgi.extensions["boomerang"]
        self.limit = AddressLimit(shared.settings.max_connections, shared.settings.trusted_proxies)
        self.closed = shared.counters.connections_closed.labels
        self.take_slow_place = shared.take_slow_place

    def run(self) -> None:
        """Serve until the process is to end."""
        self.pools = Pools(self.tpool, self.cfg.threads)
        super().run()
        self.pools.close()

    def accept(self, listener: Any) -> None:
        """Accept the connections that are there."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, peer = listener.accept()
            except OSError as error:
                if not isinstance(error, BlockingIOError | ConnectionAbortedError):
                    self.log.warning("cannot accept a connection: %s", error)
                    self._make_room()
                return
            group = self.limit.group(peer[0] if isinstance(peer, tuple) else "")
            sock = Connection(accepted, lambda direction: self.closed(f"slow_{direction}").inc())
            self._admit(Client(self.cfg, sock, peer, listener.getsockname(), group))

    def enqueue_req(self, conn: Client) -> None:
        """Give a connection with a complete head to a thread, when it is the turn of its address."""
        self._forget(conn)
        conn.wanted = 0
        conn.pool = self.pools.of(conn.head)
        if conn.is_surplus and not conn.pool.always_open and self.limit.is_exceeded(conn.group):
            self._refuse(conn, 503)
            return
        conn.pool.turns.take(partial(self.limit.turn, conn.group, conn.head), partial(self._start, conn, conn.pool))

    def _start(self, conn: Client, pool: Pool, threads: Executor) -> None:
        conn.sock.begin_request(conn.group or "", self.take_slow_place if pool.takes_places else None, pool.waits)
        threads.submit(self.handle, conn).add_done_callback(
            lambda future: self.method_queue.defer(self.finish_request, conn, future)
        )

    def handle(self, conn: Client) -> Any:
        """Serve a request, in a thread. Return whether the connection can serve another one."""
        try:
            return super().handle(conn)
        finally:
            conn.sock.give_back()

    def finish_request(self, conn: Client, fs: Future[Any]) -> None:
        """Keep the connection for the next request, or close it. A thread has finished with it."""
        if conn.pool:
            conn.pool.turns.give_back()
        keep = not fs.cancelled() and fs.exception() is None and fs.result()
        if not keep:
            self._linger(conn)
            return
        # A client may have sent its next request already.
        conn.head += conn.parser.unreader.take_buffered()
        conn.stage = Stage.NEXT_HEAD
        self._wait(conn, self.cfg.keepalive if self.alive else STOP_SECONDS)
        self._examine(conn, 0)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - gunicorn's own signature
        """Close the connections whose time has passed, or all that wait."""
        now = time.monotonic()
        if not force and now < self._expiry_at:
            return
        self._expiry_at = now + _EXPIRY_INTERVAL
        for client in list(self.waiting) if force else self.waiting.expired(now):
            if client.head and client.stage is not Stage.LINGERING:
                self.closed("head").inc()
                self._refuse(client, 408)
            else:
                self._close(client)

    def _cap_keepalive(self, deadline: float) -> None:
        for client in self.waiting:
            client.ends = min(client.ends, deadline)

    def _keepalive_after(self, conn: Client, keepalive: bool) -> bool:  # noqa: FBT001 - gunicorn's own signature
        """Return whether the connection can serve another request: not if much of a body is still to come."""
        if not keepalive or conn.sock.too_slow or conn.sock.cut_off:
            return False  # the rest of the body would be read as a request
        # No view wants the rest of the body, so no thread waits for it. The event loop reads it, and then closes.
        conn.sock.wait_for(Direction.BODY, allowed=False)
        try:
            return bool(conn.parser.finish_body(max_bytes=DRAIN_BYTES))
        except TooSlow:
            return False

    def _admit(self, client: Client) -> None:
        self.nr_conns += 1
        too_many = self.limit.open(client.group)
        if too_many:
            self.closed("address").inc()
            if oldest := self.waiting.oldest(client.group):
                self._close(oldest)
            else:
                # Its head decides: a callback must not be refused because of others with the same address.
                client.is_surplus = True
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._wait(client, HEAD_SECONDS)
        self._receive(client)

    def _make_room(self) -> None:
        """Close the connection that has waited longest. If none waits, gunicorn accepts no more for now."""
        if oldest := self.waiting.oldest():
            self.closed("full").inc()
            self._close(oldest)

    def _wait(self, client: Client, seconds: float) -> None:
        client.ends = time.monotonic() + seconds
        client.sock.settimeout(0)
        self.waiting.add(client)

    def _register(self, client: Client) -> None:
        if not client.registered:
            client.registered = True
            self.poller.register(client.sock, selectors.EVENT_READ, partial(self._on_readable, client))

    def _on_readable(self, client: Client, _: Any) -> None:
        # Another event of the same turn may have closed it.
        if client.registered:
            self._receive(client)

    def _receive(self, client: Client) -> None:
        """Take what has arrived of a head."""
        try:
            data = client.sock.receive_now(_LINGER_CHUNK if client.stage is Stage.LINGERING else MOST_HEAD)
        except (BlockingIOError, InterruptedError):
            self._register(client)
            return
        except OSError:
            data = b""
        if client.stage is Stage.LINGERING:
            client.drained += len(data)
            if not data or client.drained > LINGER_BYTES:
                self._close(client)
            return
        if not data:
            # The parser decides what the beginning of a head is worth.
            if client.head:
                self.enqueue_req(client)
            else:
                self._close(client)
            return
        length = len(client.head)
        client.head += data
        self._examine(client, max(0, length - 3))

    def _examine(self, client: Client, searched: int) -> None:
        """Give the connection to a thread if its head is complete, and its form; read on otherwise."""
        if not client.wanted and (end := client.head.find(b"\r\n\r\n", searched)) >= 0:
            client.wanted = end + 4 + (form_length(client.head) if self.pools.of(client.head).has_forms else 0)
        if client.wanted and len(client.head) >= client.wanted:
            self.enqueue_req(client)
        elif not client.wanted and len(client.head) >= MOST_HEAD:
            self.closed("head").inc()
            self._refuse(client, 431)
        else:
            if client.head and client.stage is Stage.NEXT_HEAD:
                # From now on it counts as a new connection.
                self.waiting.discard(client)
                client.stage = Stage.FIRST_HEAD
                self._wait(client, HEAD_SECONDS)
            self._register(client)

    def _refuse(self, client: Client, status: int) -> None:
        with contextlib.suppress(OSError):
            client.sock.send_now(plain_answer(status))
        self._linger(client)

    def _linger(self, client: Client) -> None:
        """Close the connection when its client has, or after a while: closing at once could destroy the answer."""
        self._forget(client)
        client.head.clear()
        try:
            client.sock.shutdown(1)
        except OSError:
            self._close(client)
            return
        client.stage = Stage.LINGERING
        self._wait(client, LINGER_SECONDS)
        self._register(client)

    def _forget(self, client: Client) -> None:
        self.waiting.discard(client)
        if client.registered:
            client.registered = False
            self.poller.unregister(client.sock)

    def _close(self, client: Client) -> None:
        self._forget(client)
        self.nr_conns -= 1
        self.limit.close(client.group)
        client.close()
