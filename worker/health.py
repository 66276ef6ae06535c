"""Whether a worker lives, in a few milliseconds: `python -m worker.health [SECONDS]`, where the worker runs.

The worker writes down now and then that it is connected to the broker and goes on (`worker.heartbeat`); here that is
read. Exit code 0: it has done so in the last seconds (30); 1: it has not. Nothing but the standard library is imported
and nobody is asked, so that it costs little, and works without remote control.
"""

import os
import sys
import time
from pathlib import Path

#: The file's path, for the worker and for the question.
HEALTH_FILE = "BOOMERANG_HEALTH_FILE"
#: Seconds. A worker that lost its broker tries again after up to this time.
LONGEST = 30.0


def write(file: Path) -> None:
    """Note that all is well now, by a clock that nobody sets: all processes of a machine share it."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(f"{time.monotonic()}\n", encoding="ascii")
    draft.replace(file)


def problem(file: Path, longest: float) -> str | None:
    """What is wrong with the worker that writes that file; None: nothing."""
    try:
        silent = time.monotonic() - float(file.read_text(encoding="ascii"))
    except FileNotFoundError:
        return f"{file} is not there: the worker has not reached the broker yet, or runs without {HEALTH_FILE}={file}"
    except (OSError, ValueError) as error:
        return f"{file} cannot be read: {error}"
    # Below 0: it was written before the machine was started.
    if not 0 <= silent <= longest:
        return f"the worker has not been well for {silent:.0f} s (more than {longest:.0f}): is the broker away?"
    return None


def main(arguments: list[str]) -> str | None:
    """The command: what `sys.exit` takes, that is the problem, or None."""
    try:
        longest = float(arguments[0]) if arguments else LONGEST
    except ValueError:
        return f"{arguments[0]!r} is no number of seconds"
    path = os.environ.get(HEALTH_FILE)
    return problem(Path(path), longest) if path else f"{HEALTH_FILE} is not set: no worker writes whether it is well"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
