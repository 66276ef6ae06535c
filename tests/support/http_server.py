"""The HTTP server that the tests' own listeners run."""

from http.server import ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Takes many connections at once: the standard library's backlog of 5 drops some where the machine is busy."""

    request_queue_size = 256
    daemon_threads = True
