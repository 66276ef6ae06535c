"""Run commands with a time limit, and write all output to a log."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: Set in a shell, these would win over the file .env that is being checked.
_OF_THE_STACK = ("BOOMERANG_", "FLOWER_", "SIMULATOR_", "COMPOSE_")


class CommandFailed(Exception):
    """A command failed or took too long."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A folder in which commands run."""

    folder: Path
    log: Path
    env: Mapping[str, str] = field(repr=False, default_factory=lambda: clean_environment(os.environ))

    def try_(self, *argv: str, limit: float = 60, env: Mapping[str, str] | None = None) -> Done:
        """Run a command and return its result, whatever its exit code. Raises CommandFailed after `limit` seconds."""
        with self.log.open("a") as log:
            log.write(f"$ {' '.join(argv)}\n")
            try:
                done = subprocess.run(  # noqa: S603 - our own commands
                    argv,
                    cwd=self.folder,
                    env={**self.env, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=limit,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise CommandFailed(f"{' '.join(argv[:8])} took more than {limit:g} s") from None
            log.write(f"{done.stdout}{done.stderr}exit code {done.returncode}\n")
        return Done(code=done.returncode, out=done.stdout, err=done.stderr)

    def run(self, *argv: str, limit: float = 60) -> str:
        """Run a command and return its standard output. Raises CommandFailed."""
        done = self.try_(*argv, limit=limit)
        if done.code != 0:
            end = " ".join(done.err.strip().splitlines()[-3:])
            raise CommandFailed(f"{' '.join(argv[:12])} ended with exit code {done.code}: {end}")
        return done.out


def clean_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables of the stack."""
    return {name: value for name, value in env.items() if not name.startswith(_OF_THE_STACK)}


def wait_until(condition: Callable[[], object], limit: float, *, pause: float = 0.5) -> float | None:
    """Wait for a condition. Returns the seconds it took; None if it is still false after `limit` seconds."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > limit:
            return None
        time.sleep(pause)
    return time.monotonic() - begun


@contextmanager
def temporary_folder(prefix: str, *, keep: bool) -> Iterator[Path]:
    """Make a temporary folder. It is removed at the end unless it should be kept."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        if not keep:
            # Files that a container wrote may belong to its user.
            shutil.rmtree(folder, ignore_errors=True)
