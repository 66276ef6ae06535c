import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]


class Server:
    """A `boomerang-server up` in a process of its own, as a person starts it."""

    def __init__(self, folder: Path, screen: Path, *options: str) -> None:
        self.folder = folder
        self.screen = screen
        with self.screen.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from ops.cli import main; main()", "up", "--data", str(folder), *options],
                cwd=ROOT,
                env={**os.environ, "COLUMNS": "300"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.screen.read_text()

    @property
    def url(self) -> str:
        (found,) = re.findall(r"BOOMERANG_URL=(\S+)", (self.folder / "env").read_text())
        return str(found)

    @property
    def key(self) -> str:
        (found,) = re.findall(r"BOOMERANG_KEY=(\S+)", (self.folder / "env").read_text())
        return str(found)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.said
        return "Press Ctrl-C to stop everything." in self.said


@pytest.fixture
def start(tmp_path: Path, wait_for: Callable[..., None]) -> Iterator[Callable[..., Any]]:
    """`start("name", *options)`: a stack that is up; whatever the test does to it, it ends with the test."""
    started: list[Server] = []

    def start_one(name: str, *options: str, wait: bool = True) -> Server:
        server = Server(tmp_path / name, tmp_path / f"{len(started)}.screen", *options)
        started.append(server)
        if wait:
            wait_for(server.is_up, timeout=60, message="the stack is up")
        return server

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
