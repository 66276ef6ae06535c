"""How gunicorn runs the webhook: `gunicorn -c python:webhook.gunicorn_conf webhook.wsgi:app`.

`gunicorn.conf.py` at the root of the repository says the same to a plain `gunicorn webhook.wsgi:app`. Each value can be
overridden on the command line. gunicorn's own `--bind` or `PORT` says where to listen.
"""

import os
import socket
import struct
import sys
from typing import Any

from jobs import logs

# gunicorn reads this file first of all, and has something to say before it loads the application.
logs.start(os.environ)

# One process, many threads. The work is waiting for Redis; a slow client holds a thread and nothing else; and /metrics
# tells the whole truth. For more than one core, run more instances behind a balancer: they share nothing but Redis.
workers = 1
worker_class = "gthread"
# Beside 60 clients that drip headers and 60 that drip bodies, 64 threads answered 0 of 5 health checks, 192 answer all
# within 5 ms. An idle thread costs next to nothing.
threads = 192
# Connections that wait between two requests cost no thread, only a file.
worker_connections = 1000
# Loaded once, before the fork: a worker that died is back within milliseconds. Safe since nothing connects at import.
preload_app = True

# A worker that does not report back for so long is replaced. It bounds no single request: a wait may take 60 s.
timeout = 30
# Requests under way get so long at a stop. A callback that is cut off is repeated by its sender, or found by polling.
graceful_timeout = 30
# Above the usual pause between two callbacks of a sender that keeps its connection; below the balancers' 60 s.
keepalive = 5

# A callback's path is 128 + 32 characters and the two ids; nobody needs the defaults' 4 KB and 100 fields.
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 4096

# No max_requests: with one process a restart every so often is felt by callers, and there is no leak to hide.
# The heartbeat file belongs into memory: on a busy disk its write can block and get the worker killed.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn makes an unnamed file there
# Since gunicorn 25.1 a control socket is opened in the home folder by default: nobody here uses it.
control_socket_disable = True
# Only a proxy on this machine is believed what it says about the client.
forwarded_allow_ips = "127.0.0.1,::1"

# No access log: its lines carry the callbacks' tokens. Where one is wanted, `--access-logfile -` masks them.
accesslog = None
errorlog = "-"
loglevel = "info"
logger_class = "webhook.logs.GunicornLogger"


#: Seconds without a byte, in either direction, after which a connection is given up. gunicorn bounds neither: a client
#: that vanished in the middle of a request would keep its thread for ever.
SILENCE = 60


def when_ready(server: Any) -> None:
    """Give up on silent clients. What a listener accepts has the listener's options (Linux)."""
    limit = struct.pack("ll", SILENCE, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def post_worker_init(worker: Any) -> None:  # noqa: ARG001 - gunicorn's own signature
    """Let a thread that computes (an upload) pass the interpreter on after 0.5 ms instead of 5.

    A callback waits for it several times, once after each answer of the socket and of Redis.
    """
    sys.setswitchinterval(0.0005)
