"""Send one message through Apprise, in a process of its own: `python -m worker.notices.apprise_process`.

Apprise has no deadline for a whole message, and its log may name secrets. So the worker gives this process the message
on stdin, ends it when it takes too long, and reads one line of JSON from its stdout: {"sent": bool, "why": text}.
"""

import json
import logging
import signal
import sys
from typing import Any

import apprise

from worker.notices.hiding import hide

#: Seconds within which Apprise is loaded: 2 of CPU time. The process ends by itself then, and at the deadline of the
#: message, because the worker may be killed.
START = 60.0
#: Characters of the reason.
_LONGEST_WHY = 300


def deliver(url: str, title: str, body: str, deadline: float) -> dict[str, Any]:
    """Send a message to a URL of Apprise. Returns the outcome, without the parts of the URL.

    The process ends by SIGALRM if that takes longer than `deadline` seconds.
    """
    target = apprise.Apprise()
    if not target.add(url):
        return {"sent": False, "why": "Apprise does not understand this URL"}
    signal.setitimer(signal.ITIMER_REAL, deadline)
    capture: Any = apprise.LogCapture  # it has no types
    with capture(level=logging.WARNING, fmt="%(message)s") as captured:
        sent = target.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT)
        why = " ".join(captured.getvalue().split())
    return {"sent": bool(sent), "why": "" if sent else hide(why or "Apprise names no reason", url)[:_LONGEST_WHY]}


if __name__ == "__main__":
    signal.setitimer(signal.ITIMER_REAL, START)
    given = json.load(sys.stdin)
    # Some plugins of Apprise print; the worker reads the last line.
    print("\n" + json.dumps(deliver(**given)))  # noqa: T201 - it is the answer
