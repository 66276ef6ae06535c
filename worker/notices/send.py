"""Send one message to one target, within a deadline."""

import json
import os
import signal
import subprocess
import sys

from worker.notices.message import Message
from worker.notices.settings import Target

#: Seconds for one message, and for the start of its process on a busy machine. Together they are less than the lease of
#: its notices (jobs.notices).
DEADLINE, START = 30.0, 70.0
_MODULE = "worker.notices.apprise_process"


class NoticeFailed(Exception):
    """A message was not sent. The text has no part of the address."""


def send(target: Target, message: Message, *, deadline: float = DEADLINE) -> None:
    """Send a message in a process that ends at the deadline. Raises `NoticeFailed`."""
    given = {"url": target.url, "title": message.title, "body": message.body, "deadline": deadline}
    # On stdin, because other users see command lines. It needs none of our settings, which are secrets.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BOOMERANG_")}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", _MODULE],
            input=json.dumps(given),
            text=True,
            encoding="utf-8",
            capture_output=True,
            timeout=START + deadline,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoticeFailed(f"its process did not end within {START + deadline:g} s") from None
    except OSError as error:
        raise NoticeFailed(f"no process can be started: {error.strerror}") from None
    if done.returncode == -signal.SIGALRM:
        raise NoticeFailed(f"no answer within {deadline:g} s")
    try:
        answer = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    except ValueError:
        raise NoticeFailed(f"the process that sends it ended with code {done.returncode}") from None
    if not answer["sent"]:
        raise NoticeFailed(answer["why"])
