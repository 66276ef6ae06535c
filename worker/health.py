"""Health check of a worker: `python -m worker.health [SECONDS]`, on the worker's machine.

A worker writes a time to a file while it runs and is connected to the broker (`worker.heartbeat`). This command reads
it. Exit code 0: it was written in the last SECONDS (default 30); 1: it was not. It imports only the standard library
and sends no request, so it takes milliseconds and works without remote control.
"""

import os
import sys
import time
from pathlib import Path

#: The variable with the file's path, for the worker and this command.
HEALTH_FILE = "BOOMERANG_HEALTH_FILE"
#: Default of SECONDS. A worker that lost its broker reconnects after up to this time.
MAX_SILENCE = 30.0


def write(file: Path) -> None:
    """Write the current monotonic time, which all processes of a machine share and no one can set."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(f"{time.monotonic()}\n", encoding="ascii")
    draft.replace(file)


def problem(file: Path, longest: float) -> str | None:
    """Return what is wrong with the worker that writes the file, or None."""
    try:
        silent = time.monotonic() - float(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return f"{file} does not exist: the worker has not reached the broker yet, or runs without {HEALTH_FILE}={file}"
    except (OSError, ValueError) as error:
        return f"{file} cannot be read: {error}"
    # Below 0: the file is older than the machine's last start.
    if not 0 <= silent <= longest:
        return f"the worker has written nothing for {silent:.0f} s (limit {longest:.0f} s). Check worker and broker."
    return None


def main(arguments: list[str]) -> str | None:
    """Run the command. Returns the argument of `sys.exit`: the problem, or None."""
    try:
        longest = float(arguments[0]) if arguments else MAX_SILENCE
    except ValueError:
        return f"{arguments[0]!r} is not a number of seconds"
    path = os.environ.get(HEALTH_FILE)
    return (
        problem(Path(path), longest)
        if path
        else f"{HEALTH_FILE} is not set. Set it to the same file for the worker and for this command."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
