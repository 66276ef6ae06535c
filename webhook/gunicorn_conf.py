"""How gunicorn runs the webhook: `gunicorn -c python:webhook.gunicorn_conf webhook.wsgi:app`.

`gunicorn.conf.py` at the root of the repository applies the same to a plain `gunicorn webhook.wsgi:app`. The command
line can override each value. gunicorn's own `--bind` or `PORT` sets the address.
"""

import os
import sys
from typing import Any

from jobs import logs

# gunicorn reads this file first, and logs before it loads the application.
logs.start(os.environ)

# One process with many threads: it mostly waits for Redis, a slow client occupies one thread only, and /metrics covers
# all requests. To use more cores, run more instances behind a load balancer. They share nothing but Redis.
workers = 1
# Heads are read without a thread; callbacks and health checks have threads of their own.
worker_class = "webhook.server.worker.Worker"
# For all other requests. More than the limits of long requests together. An idle thread costs almost nothing.
threads = 192
# Open connections. One without a request needs no thread, only a file descriptor, and gives way to new ones.
worker_connections = 2000
# The kernel would send a file to a slow reader without a time limit.
sendfile = False
# Load the app before the fork, so that a dead worker is replaced within milliseconds. Nothing connects at import.
preload_app = True

# Seconds without a heartbeat after which a worker is replaced. No limit of a request: a long poll may take 60 s.
timeout = 30
# Seconds that running requests get at a stop. The sender repeats a callback that is cut off, or polling replaces it.
graceful_timeout = 30
# Longer than the usual time between two callbacks on one connection, shorter than the 60 s of load balancers.
keepalive = 5

# A callback's path is under 200 characters. The defaults (4 KB, 100 fields) are more than any caller needs.
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 4096

# No max_requests: with one process, callers would notice each restart, and there is no leak to hide.
# The heartbeat file is in memory: a write to a busy disk could block until the worker is replaced.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn makes an unnamed file there
# gunicorn 25.1 and later open a control socket in the home folder. We do not use it.
control_socket_disable = True
# Trust forwarding headers only from a proxy on this machine.
forwarded_allow_ips = "127.0.0.1,::1"

# No access log by default, since paths of callbacks contain tokens. `--access-logfile -` masks them.
accesslog = None
errorlog = "-"
loglevel = "info"
logger_class = "webhook.logs.GunicornLogger"


def post_worker_init(worker: Any) -> None:
    """Report a worker class without limits, and shorten the turns of threads.

    A thread that computes (an upload) releases the interpreter after 0.5 ms instead of 5 ms.
    A callback waits for the interpreter several times, after each read from the client and from Redis.
    """
    if worker.cfg.worker_class_str != worker_class:
        worker.log.error(
            "worker class %s has no limits for slow clients: use %s", worker.cfg.worker_class_str, worker_class
        )
    sys.setswitchinterval(0.0005)
