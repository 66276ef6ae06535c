"""`boomerang-server up` as a process."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import psutil

ROOT = Path(__file__).parents[2]


class StackProcess:
    """`boomerang-server up` in a separate process, as a user starts it."""

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
    def printed(self) -> str:
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
        assert self.process.poll() is None, self.printed
        return "Press Ctrl-C to stop everything." in self.printed


class StartStack(Protocol):
    """The type of the fixture `start`."""

    def __call__(self, name: str, *options: str, wait: bool = True) -> StackProcess: ...
