"""A separate RabbitMQ node on loopback: `with running(folder, wait_for) as node`."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from kombu import Connection

from ops.local.redis_server import TETHER, free_port
from tests.support.waiting import WaitFor

START_LIMIT = 60.0
TETHERED = (sys.executable, "-IS", str(TETHER))
#: Debian's command on the PATH is a wrapper that switches from root to another user.
SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")


class Node:
    """A node with its own data, cookie and port mapper. `managed`: with the management plugin, at the URL `api`."""

    def __init__(self, folder: Path, server: str, wait_for: WaitFor, *, managed: bool) -> None:
        self._folder = folder
        self._server = server
        self._wait_for = wait_for
        self._log = folder / "out.log"
        self._port, distribution, self._mapper = (free_port() for _ in range(3))
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        management = free_port()
        self.api = f"http://guest:guest@127.0.0.1:{management}/api/"
        (folder / "plugins").write_text("[rabbitmq_management].\n" if managed else "[].\n")
        lines = [f"listeners.tcp.default = 127.0.0.1:{self._port}"]
        if managed:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {management}"]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # Erlang creates the cookie in this folder
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"boomerang-{self._port}@localhost",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            # The script then replaces itself by the node, so that there is one process to end.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1} +S 2:2",
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._run("epmd", "-port", str(self._mapper), "-address", "127.0.0.1")

    def _run(self, *command: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as out:
            process = subprocess.Popen(
                [*TETHERED, str(os.getpid()), *command],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        return process

    def start(self) -> None:
        """Start the node and wait until it accepts connections."""
        self._node = self._run(self._server)

        def lives() -> bool:
            assert self._node.poll() is None, self._log.read_text()[-2000:]
            return True

        def listening() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return True
            return not lives()

        def ready() -> bool:
            with suppress(OSError), Connection(self.url) as connection:
                connection.ensure_connection(max_retries=1, timeout=2)
                return True
            return not lives()

        self._wait_for(listening, START_LIMIT, f"RabbitMQ: {self._log}")
        self._wait_for(ready, START_LIMIT, f"RabbitMQ: {self._log}")

    def kill(self) -> None:
        """SIGKILL."""
        self._node.kill()
        self._node.wait(30)

    def close(self) -> None:
        for process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
            process.wait(30)


@contextmanager
def running(folder: Path, wait_for: WaitFor, *, managed: bool = False) -> Iterator[Node]:
    """Run a node until the block ends. Skip the test if RabbitMQ is not installed."""
    server = next(filter(None, map(shutil.which, SERVERS)), None)
    if server is None:
        pytest.skip("there is no rabbitmq-server on this machine (apt-get install rabbitmq-server)")
    folder.mkdir(exist_ok=True)
    node = Node(folder, server, wait_for, managed=managed)
    try:
        node.start()
        yield node
    finally:
        node.close()
