"""Start an engine for the checks, on a machine without Docker or without an image registry."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ops.compose_check.shell import clean_environment, temporary_folder
from ops.local.signals import StopRequested

SCRIPT = Path(__file__).with_name("debian-engine.sh")
_ROOT = Path(__file__).parents[2]
#: Seconds for packages, base images and the engine's start.
_START = 900
#: Seconds that the checks have to take their containers down, once they were asked to end.
_CLEAN_UP = 300


class EngineFailed(Exception):
    """The engine could not be started. The message gives the reason."""


def run_on_own_engine(arguments: Sequence[str], folder: Path | None, redis: str, *, keep: bool) -> int:
    """Start an engine in `folder` or a temporary one, run this program on it, and return its exit code."""
    with _folder(folder, keep=keep) as place:
        started = subprocess.run(  # noqa: S603 - our own script
            [str(SCRIPT), "start", str(place), redis],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=_START, check=False,
        )  # fmt: skip
        if started.returncode != 0:
            raise EngineFailed(started.stderr.strip())
        try:
            restart = shlex.join([str(SCRIPT), "restart", str(place)])
            return _run([str(SCRIPT), "exec", str(place), sys.executable, "-m", "ops.compose_check",
                         "--restart-engine", restart, *arguments])  # fmt: skip
        finally:
            if not keep:
                subprocess.run([str(SCRIPT), "stop", str(place)], timeout=_CLEAN_UP, check=False)  # noqa: S603


@contextlib.contextmanager
def _folder(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    if folder is not None:
        yield folder.resolve()
    else:
        with temporary_folder("boomerang-engine-", keep=keep) as made:
            yield made


def _run(command: Sequence[str]) -> int:
    env = clean_environment(os.environ)
    with subprocess.Popen(command, cwd=_ROOT, env=env) as process:  # noqa: S603 - this program again
        try:
            return process.wait()
        except StopRequested:
            # It removes its containers first.
            process.terminate()
            process.wait(_CLEAN_UP)
            raise
